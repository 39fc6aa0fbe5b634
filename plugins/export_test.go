// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"context"
	"time"
)

// Cookie is what a host puts into the environment of a plugin.
const Cookie = cookieKey + "=" + cookieValue

// LaunchLooping is Launch with a crash loop that is slow to restart after most
// ends within window.
func LaunchLooping(ctx context.Context, spec Spec, most int, window, slow time.Duration) (*Store, error) {
	return launch(ctx, spec, restartPolicy{most: most, window: window, first: time.Millisecond, slow: slow})
}

// FirstStart returns how long the first start of a process of spec may take.
func FirstStart(ctx context.Context, spec Spec) time.Duration { return spec.firstStart(ctx) }

// LaneKey names the variable that gives a plugin its lane.
const LaneKey = laneKey

// Laned reports whether the calls of s go by a lane.
func Laned(s *Store) bool {
	i := s.current.Load()
	return i != nil && i.lane.Open()
}
