// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
)

// viaClient adds a case that goes through the released client, to see what a user of it sees.
func viaClient(name string, f func(t *T, c *esdb.Client)) {
	add("client", name, func(t *T) {
		if t.cfg.tls != nil {
			t.See("left out: only without TLS")
			return
		}
		conf, err := esdb.ParseConnectionString(fmt.Sprintf("esdb://%s?tls=false", t.cfg.URL))
		if err != nil {
			t.See("parse: %v", err)
			return
		}
		conf.Logger = esdb.NoopLogging()
		c, err := esdb.NewClient(conf)
		if err != nil {
			t.See("client: %v", err)
			return
		}
		f(t, c)
		_ = c.Close()
	})
}

// clientEvent is an event as the client takes it.
func clientEvent(t *T, id string) esdb.EventData {
	return esdb.EventData{EventID: uuid.MustParse(t.ID(id)), EventType: "T", ContentType: esdb.ContentTypeJson, Data: []byte(`{}`)}
}

// seeClientErr records an error of the client.
func seeClientErr(t *T, err error) {
	if err == nil {
		t.See("no error")
		return
	}
	if e, ok := errors.AsType[*esdb.Error](err); ok {
		t.See("esdb error code=%d message=%q", e.Code(), e.Error())
		return
	}
	t.See("error %T message=%q", err, err.Error())
}

func clientAppend(t *T, c *esdb.Client, s string, x esdb.ExpectedRevision, ids ...string) {
	t.Do("client append %s %v %v", s, x, ids)
	var l []esdb.EventData
	for _, i := range ids {
		l = append(l, clientEvent(t, i))
	}
	r, err := c.AppendToStream(t.ctx, s, esdb.AppendToStreamOptions{ExpectedRevision: x}, l...)
	seeClientErr(t, err)
	if err == nil {
		t.See("next=%d", r.NextExpectedVersion)
	}
}

func clientRead(t *T, c *esdb.Client, s string, o esdb.ReadStreamOptions) {
	t.Do("client read %s", s)
	r, err := c.ReadStream(t.ctx, s, o, 10)
	if err != nil {
		seeClientErr(t, err)
		return
	}
	defer r.Close()
	for {
		e, err := r.Recv()
		if err != nil {
			seeClientErr(t, err)
			return
		}
		o := e.OriginalEvent()
		t.See("event %s rev=%d type=%s created-now=%v", o.StreamID, o.EventNumber, o.EventType, time.Since(o.CreatedDate).Abs() < time.Hour)
	}
}
func init() {
	viaClient("append-and-read", func(t *T, c *esdb.Client) {
		s := t.S("s")
		clientAppend(t, c, s, esdb.NoStream{}, "a", "b")
		clientAppend(t, c, s, esdb.Revision(1), "c")
		clientAppend(t, c, s, esdb.Revision(1), "d")
		clientAppend(t, c, s, esdb.StreamExists{}, "d")
		clientAppend(t, c, s, esdb.Any{})
		clientRead(t, c, s, esdb.ReadStreamOptions{From: esdb.Start{}})
		clientRead(t, c, s, esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards})
		clientRead(t, c, t.S("missing"), esdb.ReadStreamOptions{From: esdb.Start{}})
	})
	viaClient("delete-and-tombstone", func(t *T, c *esdb.Client) {
		s := t.S("s")
		clientAppend(t, c, s, esdb.NoStream{}, "a")
		t.Do("client delete at a wrong revision")
		_, err := c.DeleteStream(t.ctx, s, esdb.DeleteStreamOptions{ExpectedRevision: esdb.Revision(4)})
		seeClientErr(t, err)
		t.Do("client delete")
		_, err = c.DeleteStream(t.ctx, s, esdb.DeleteStreamOptions{ExpectedRevision: esdb.Revision(0)})
		seeClientErr(t, err)
		clientRead(t, c, s, esdb.ReadStreamOptions{From: esdb.Start{}})
		clientAppend(t, c, s, esdb.NoStream{}, "b")
		t.Do("client tombstone")
		_, err = c.TombstoneStream(t.ctx, s, esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}})
		seeClientErr(t, err)
		clientRead(t, c, s, esdb.ReadStreamOptions{From: esdb.Start{}})
		clientAppend(t, c, s, esdb.Any{}, "c")
	})
	viaClient("too-big", func(t *T, c *esdb.Client) {
		t.Do("client append of 1 MiB + 1")
		e := clientEvent(t, "a")
		e.Data = make([]byte, 1<<20+1)
		e.ContentType = esdb.ContentTypeBinary
		_, err := c.AppendToStream(t.ctx, t.S("s"), esdb.AppendToStreamOptions{}, e)
		seeClientErr(t, err)
	})
}

func init() {
	viaClient("metadata", func(t *T, c *esdb.Client) {
		s := t.S("s")
		clientAppend(t, c, s, esdb.NoStream{}, "a", "b", "c")
		t.Do("client set and get metadata")
		var m esdb.StreamMetadata
		m.SetMaxCount(1)
		_, err := c.SetStreamMetadata(t.ctx, s, esdb.AppendToStreamOptions{}, m)
		seeClientErr(t, err)
		g, err := c.GetStreamMetadata(t.ctx, s, esdb.ReadStreamOptions{})
		seeClientErr(t, err)
		if err == nil && g != nil && g.MaxCount() != nil {
			t.See("max count %d", *g.MaxCount())
		}
		clientRead(t, c, s, esdb.ReadStreamOptions{From: esdb.Start{}})
	})
	viaClient("subscribe", func(t *T, c *esdb.Client) {
		s := t.S("s")
		clientAppend(t, c, s, esdb.NoStream{}, "a", "b")
		t.Do("client subscription from revision 0")
		ctx, cancel := context.WithTimeout(t.ctx, 2*time.Second)
		defer cancel()
		sub, err := c.SubscribeToStream(ctx, s, esdb.SubscribeToStreamOptions{From: esdb.Revision(0)})
		if err != nil {
			seeClientErr(t, err)
			return
		}
		for {
			e := sub.Recv()
			switch {
			case e.EventAppeared != nil:
				t.See("event rev=%d", e.EventAppeared.OriginalEvent().EventNumber)
			case e.CaughtUp != nil:
				t.See("caught up")
			case e.CheckPointReached != nil:
				t.See("checkpoint")
			case e.SubscriptionDropped != nil:
				t.See("dropped %v", e.SubscriptionDropped.Error != nil)
				return
			}
		}
	})
}
