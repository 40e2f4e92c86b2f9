package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// Status is what a node says of itself at one moment. Nothing of it is signed: it is a reason to ask for a quote, or to look at the node, and no evidence.
type Status struct {
	// Event is what was last noticed, unspecified in the first Status of a watch.
	Event agentv1.StatusEvent
	// AKState says whether the AK can be used, Detail why not, and what to do.
	AKState agentv1.AkState
	Detail  string
	// AKName is the Name of the AK in use, PendingAKName that of a rotation; nil if there is none.
	AKName        []byte
	PendingAKName []byte
	// AKTransient: the AK could not be kept at a handle, so that each quote costs more.
	AKTransient bool
	// AKCertificateNotAfter is when the AK's certificate ends; zero if there is none.
	AKCertificateNotAfter time.Time
	// LaunchStatus and BootID are as in the hints of a quote.
	LaunchStatus agentv1.LaunchStatus
	BootID       string
}

// EventWord returns Event as a word: "tpm_cleared".
func (s Status) EventWord() string { return enumWord(s.Event.String(), "STATUS_EVENT_") }

// AKStateWord returns AKState as a word: "enrolled".
func (s Status) AKStateWord() string { return enumWord(s.AKState.String(), "AK_STATE_") }

// WatchStatus calls each with the node's status now and again at each change, until ctx ends, the connection breaks or each returns an error, which it returns as it is. The
// node may end the stream: then the error is nil, and the caller watches anew. Needs the role "observe".
func (c *Client) WatchStatus(ctx context.Context, each func(Status) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream when each has had enough

	stream, err := c.quotes.WatchStatus(ctx, &agentv1.WatchStatusRequest{})
	if err != nil {
		return fmt.Errorf("watching %s: %w", c.address, newCallError(err))
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watching %s: %w", c.address, newCallError(err))
		}
		status, err := newStatus(resp)
		if err != nil {
			return fmt.Errorf("watching %s: %w", c.address, err)
		}
		if err := each(status); err != nil {
			return err
		}
	}
}

func newStatus(resp *agentv1.WatchStatusResponse) (Status, error) {
	detail, detailErr := text("detail", resp.GetDetail(), maxDetail)
	bootID, bootErr := text("boot_id", resp.GetBootId(), maxHint)
	err := errors.Join(
		detailErr,
		bootErr,
		atMost("ak_name", len(resp.GetAkName()), maxName),
		atMost("pending_ak_name", len(resp.GetPendingAkName()), maxName),
	)
	if err != nil {
		return Status{}, err
	}

	status := Status{
		Event:         resp.GetEvent(),
		AKState:       resp.GetAkState(),
		Detail:        detail,
		AKName:        resp.GetAkName(),
		PendingAKName: resp.GetPendingAkName(),
		AKTransient:   resp.GetAkTransient(),
		LaunchStatus:  resp.GetLaunchStatus(),
		BootID:        bootID,
	}
	if end := resp.GetAkCertificateNotAfter(); end != 0 {
		status.AKCertificateNotAfter = time.Unix(end, 0).UTC()
	}
	return status, nil
}
