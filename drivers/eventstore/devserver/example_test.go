// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"context"
	"fmt"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

func ExampleStart() {
	server, err := devserver.Start(devserver.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = server.Close() }()

	config, err := esdb.ParseConnectionString(server.URL())
	if err != nil {
		fmt.Println(err)
		return
	}
	config.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = client.Close() }()

	result, err := client.AppendToStream(context.Background(), "orders", esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}},
		esdb.EventData{EventType: "OrderPlaced", ContentType: esdb.ContentTypeJson, Data: []byte(`{"order":1}`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("written at revision", result.NextExpectedVersion)
	// Output: written at revision 0
}
