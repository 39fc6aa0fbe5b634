// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// LinkDown tells that as many status checks of a link as Policy.Check.Fall have
// failed in a row. What follows for an active link is FailedOver or AllDown.
type LinkDown struct {
	At    time.Time
	Link  string
	Cause error // of the last check
}

// LinkUp tells, after LinkDown, that as many status checks in a row as
// Policy.Check.Rise have found the link fit to serve.
type LinkUp struct {
	At   time.Time
	Link string
}

// StoreChanged tells that the product behind a link has restarted or failed over
// by itself. What it holds has been compared with what this host has seen of it.
type StoreChanged struct {
	At       time.Time
	Link     string
	From, To string    // the generations, as the driver names them
	Role     string    // the product's word for what the server is now
	Since    time.Time // the last status check that saw From
	Err      error     // nil: nothing is missing; driver.Lost: something is, and the link is not trusted
}

// StoreReported tells that what a status check finds wrong with a store has
// changed, or its role.
type StoreReported struct {
	At       time.Time
	Link     string
	Role     string
	Problems []driver.Problem // they make the store unfit to become active; empty: none
	Warnings []driver.Problem // they do not
}

func (LinkDown) event()      {}
func (LinkUp) event()        {}
func (StoreChanged) event()  {}
func (StoreReported) event() {}
