// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// identity is who makes a call. The zero value is nobody.
type identity struct {
	name   string
	groups []string
	all    bool // may do everything: an administrator, or anybody on an insecure server
}

func (i identity) known() bool { return i.all || i.name != "" }

// has tells whether one of the roles of an access list is the user's. $all stands for every known user.
func (i identity) has(roles []string) bool {
	return slices.ContainsFunc(roles, func(role string) bool {
		return role == allStreams || role == i.name || slices.Contains(i.groups, role)
	})
}

// users are those who may log in, by name. A nil map is an insecure server.
type users map[string]User

func newUsers(o Options) users {
	if !o.TLS {
		return nil
	}
	u := users{}
	for _, user := range o.Users {
		u[user.Name] = user
	}
	return u
}

// identify reads the credentials of a call. None, and those of another scheme than Basic, make the caller nobody;
// wrong ones are an error.
func (u users) identify(ctx context.Context) (identity, error) {
	if u == nil {
		return identity{all: true}, nil
	}
	headers := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(headers) == 0 {
		return identity{}, nil
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return identity{}, nil
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(token))
	if err != nil {
		return identity{}, errThrown
	}
	name, password, _ := strings.Cut(string(plain), ":")
	user, ok := u[name]
	if subtle.ConstantTimeCompare([]byte(user.Password), []byte(password)) != 1 || !ok {
		return identity{}, errUnauthenticated
	}
	return identity{name: user.Name, groups: user.Groups, all: slices.Contains(user.Groups, GroupAdmins)}, nil
}

// access is what a call does with a stream.
type access int

const (
	readAccess access = iota
	writeAccess
	deleteAccess
)

// rights returns the names that a list grants an access to, and whether it says anything of it.
func rights(acl *eventlog.ACL, a access, metadata bool) ([]string, bool) {
	if acl == nil {
		return nil, false
	}
	var roles []string
	switch {
	case metadata && a == readAccess:
		roles = acl.MetaRead
	case metadata && a == writeAccess:
		roles = acl.MetaWrite
	case a == readAccess:
		roles = acl.Read
	case a == writeAccess:
		roles = acl.Write
	case a == deleteAccess:
		roles = acl.Delete
	}
	return roles, roles != nil
}

// allowed applies the access rules. acl is that of the stream, or for a metadata stream that of its stream. Without
// one, streams whose names begin with $, and $all, are for administrators, and others for every known user. Only
// administrators may delete a metadata stream.
func allowed(user identity, stream string, a access, acl *eventlog.ACL) bool {
	if user.all || !user.known() {
		return user.all
	}
	metadata := eventlog.IsMetadataStream(stream)
	if metadata && a == deleteAccess {
		return false
	}
	if roles, ok := rights(acl, a, metadata); ok {
		return user.has(roles)
	}
	if metadata {
		stream = eventlog.OriginalStream(stream)
	}
	return !strings.HasPrefix(stream, "$")
}

// authorize refuses what the access rules do not allow.
func (s *Server) authorize(ctx context.Context, user identity, stream string, a access) error {
	ok, err := s.may(user, stream, a)
	if err != nil {
		return callError(ctx, err)
	}
	if !ok {
		return accessDenied(ctx)
	}
	return nil
}

// may tells whether the access rules allow something now.
func (s *Server) may(user identity, stream string, a access) (bool, error) {
	if user.all {
		return true, nil
	}
	holder := stream
	if eventlog.IsMetadataStream(stream) {
		holder = eventlog.OriginalStream(stream)
	}
	m, err := s.log.Metadata(holder)
	return allowed(user, stream, a, m.ACL), err
}
