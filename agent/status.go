package agent

import (
	"crypto/x509"
	"errors"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// statusBoard holds the node's present status and tells watchers when it changes. A watcher who is slower than the changes misses some of them, never
// the last one.
type statusBoard struct {
	mu      sync.Mutex
	status  *agentv1.WatchStatusResponse // replaced, never changed
	changed chan struct{}                // closed when status is replaced
}

func newStatusBoard(bootID string) *statusBoard {
	return &statusBoard{
		status:  &agentv1.WatchStatusResponse{BootId: bootID, AkState: agentv1.AkState_AK_STATE_TPM_ABSENT},
		changed: make(chan struct{}),
	}
}

// now returns the present status, and a channel that is closed when it is no longer that.
func (b *statusBoard) now() (*agentv1.WatchStatusResponse, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()

	return b.status, b.changed
}

// change replaces the status by a changed copy, if it is another one.
func (b *statusBoard) change(change func(*agentv1.WatchStatusResponse)) {
	b.mu.Lock()
	defer b.mu.Unlock()

	changed := proto.CloneOf(b.status)
	changed.Event = agentv1.StatusEvent_STATUS_EVENT_UNSPECIFIED
	change(changed)

	same := proto.CloneOf(b.status)
	same.Event = changed.GetEvent()

	if changed.GetEvent() == agentv1.StatusEvent_STATUS_EVENT_UNSPECIFIED && proto.Equal(same, changed) {
		return
	}

	b.status = changed
	close(b.changed)
	b.changed = make(chan struct{})
}

// tpmChanged takes over what became of the AK.
func (b *statusBoard) tpmChanged(state tpm.State) {
	b.change(func(s *agentv1.WatchStatusResponse) {
		before := s.GetAkState()
		s.AkState, s.Detail = akState(state), ""

		if state.Err != nil {
			s.Detail = answerTo(reasonOf(state.Err)).message
		} else {
			s.AkName, s.PendingAkName = state.AK.Name(), nil
			s.AkTransient, s.AkCertificateNotAfter = state.AK.Transient, notAfter(state.AK)

			if state.AK.Transient {
				s.Detail = state.AK.Why
			}

			if state.Pending != nil {
				s.PendingAkName = state.Pending.Name()
			}
		}

		s.Event = statusEvent(state.Event)
		if s.GetEvent() == agentv1.StatusEvent_STATUS_EVENT_UNSPECIFIED && s.GetAkState() != before {
			s.Event = agentv1.StatusEvent_STATUS_EVENT_AK_STATE
		}
	})
}

// launched takes over what the last quote said of PCR 17.
func (b *statusBoard) launched(launch agentv1.LaunchStatus) {
	if launch == agentv1.LaunchStatus_LAUNCH_STATUS_UNSPECIFIED {
		return
	}

	if status, _ := b.now(); status.GetLaunchStatus() == launch {
		return
	}

	b.change(func(s *agentv1.WatchStatusResponse) {
		s.LaunchStatus, s.Event = launch, agentv1.StatusEvent_STATUS_EVENT_LAUNCH_CHANGED
	})
}

// WatchStatus implements the RPC of that name.
func (s *quoteService) WatchStatus(_ *agentv1.WatchStatusRequest, stream grpc.ServerStreamingServer[agentv1.WatchStatusResponse]) error {
	status, changed := s.status.now()
	first := proto.CloneOf(status)
	first.Event = agentv1.StatusEvent_STATUS_EVENT_UNSPECIFIED

	if err := stream.Send(first); err != nil {
		return err
	}

	for {
		select {
		case <-changed:
		case <-stream.Context().Done():
			return edgeError(stream.Context().Err())
		}

		if status, changed = s.status.now(); status == nil {
			continue
		}

		if err := stream.Send(status); err != nil {
			return err
		}
	}
}

func statusEvent(event tpm.Event) agentv1.StatusEvent {
	switch event {
	case tpm.EventCleared:
		return agentv1.StatusEvent_STATUS_EVENT_TPM_CLEARED
	case tpm.EventReplaced:
		return agentv1.StatusEvent_STATUS_EVENT_TPM_REPLACED
	case tpm.EventRotation:
		return agentv1.StatusEvent_STATUS_EVENT_AK_ROTATION
	case tpm.EventCertificate:
		return agentv1.StatusEvent_STATUS_EVENT_AK_CERTIFICATE
	default:
		return agentv1.StatusEvent_STATUS_EVENT_UNSPECIFIED
	}
}

// akState tells in one word whether the AK can be used.
func akState(state tpm.State) agentv1.AkState {
	for _, known := range []struct {
		err   error
		state agentv1.AkState
	}{
		{tpm.ErrReplaced, agentv1.AkState_AK_STATE_TPM_REPLACED},
		{tpm.ErrHandleTaken, agentv1.AkState_AK_STATE_HANDLE_TAKEN},
		{tpm.ErrHierarchyDisabled, agentv1.AkState_AK_STATE_HIERARCHY_DISABLED},
		{tpm.ErrAuthRequired, agentv1.AkState_AK_STATE_AUTH_REQUIRED},
		{tpm.ErrRecord, agentv1.AkState_AK_STATE_RECORD_UNREADABLE},
		{tpm.ErrAbsent, agentv1.AkState_AK_STATE_TPM_ABSENT},
	} {
		if errors.Is(state.Err, known.err) {
			return known.state
		}
	}

	switch {
	case state.Err != nil:
		return agentv1.AkState_AK_STATE_TPM_FAILED
	case state.AK.Record.Enrolled:
		return agentv1.AkState_AK_STATE_ENROLLED
	default:
		return agentv1.AkState_AK_STATE_FRESH
	}
}

// notAfter returns when the AK's certificate ends, in seconds since 1970; 0 without one.
func notAfter(ak *tpm.AK) int64 {
	certificate, err := x509.ParseCertificate(ak.Record.Certificate)
	if err != nil {
		return 0
	}

	return certificate.NotAfter.Unix()
}
