// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"embed"
	"strings"

	"github.com/redis/rueidis"
)

//go:embed lua/*.lua
var sources embed.FS

// script is a Lua script and how it may run.
type script struct {
	name    string
	text    string
	lua     *rueidis.Lua
	mutates bool
}

// newScript puts a script together from files. Scripts without the flag allow-oom
// are refused as a whole while the server is out of memory; no script has the flag
// no-writes, so a demoted server refuses them all and never answers from old data.
func newScript(mutates bool, flags string, parts ...string) script {
	var text strings.Builder
	text.WriteString("#!lua")
	if flags != "" {
		text.WriteString(" flags=" + flags)
	}
	for _, p := range append([]string{"prelude"}, parts...) {
		b, err := sources.ReadFile("lua/" + p + ".lua")
		if err != nil {
			b = []byte("error('" + p + " is missing')") // a name without its file: every script is run by the contract suite
		}
		text.WriteString("\n" + strings.TrimSpace(string(b)))
	}
	return script{name: parts[len(parts)-1], text: text.String(), lua: rueidis.NewLuaScript(text.String()), mutates: mutates}
}

const allowOOM = "allow-oom"

var (
	commitScript  = newScript(true, "", "sweep_part", "write", "commit")
	mergeScript   = newScript(true, "", "sweep_part", "write", "merge")
	claimScript   = newScript(true, "", "sweep_part", "write", "claim")
	getScript     = newScript(false, allowOOM, "get")
	listScript    = newScript(false, allowOOM, "list")
	changesScript = newScript(false, allowOOM, "changes")
	epochScript   = newScript(false, allowOOM, "epoch")
	advanceScript = newScript(true, allowOOM, "advance")
	adoptScript   = newScript(true, allowOOM, "adopt")
	sweepScript   = newScript(false, allowOOM, "sweep_part", "sweep")
	probeScript   = newScript(false, "", "probe")
)
