// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"
)

const journalStream = "understudy-calls"

// operator is somebody who uses the server with the official client.
type operator struct {
	t      testing.TB
	client *esdb.Client
}

func newOperator(t testing.TB, url string) operator {
	t.Helper()
	config, err := esdb.ParseConnectionString(url)
	require.NoError(t, err)
	config.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return operator{t, client}
}

// events reads all events of a stream.
func (o operator) events(stream string) []*esdb.RecordedEvent {
	o.t.Helper()
	read, err := o.client.ReadStream(o.t.Context(), stream, esdb.ReadStreamOptions{From: esdb.Start{}}, 1<<32)
	require.NoError(o.t, err)
	defer read.Close()
	var all []*esdb.RecordedEvent
	for {
		e, err := read.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if known, ok := errors.AsType[*esdb.Error](err); ok && known.IsErrorCode(esdb.ErrorCodeResourceNotFound) {
			return nil
		}
		require.NoError(o.t, err)
		all = append(all, e.Event)
	}
}

func (o operator) append(stream, eventType, data string) {
	o.t.Helper()
	_, err := o.client.AppendToStream(context.WithoutCancel(o.t.Context()), stream, esdb.AppendToStreamOptions{},
		esdb.EventData{EventType: eventType, ContentType: esdb.ContentTypeJson, Data: []byte(data)})
	require.NoError(o.t, err)
}

func (o operator) setMetadata(json string) {
	o.t.Helper()
	o.append("$$"+journalStream, "$metadata", json)
}

func (o operator) metadata() map[string]any {
	o.t.Helper()
	all := o.events("$$" + journalStream)
	require.NotEmpty(o.t, all)
	var m map[string]any
	require.NoError(o.t, json.Unmarshal(all[len(all)-1].Data, &m))
	return m
}
