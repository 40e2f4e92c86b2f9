package daemon

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// Supervised is what systemd is told of.
type Supervised interface {
	// Running is closed once callers are served.
	Running() <-chan struct{}
	// Hung says why the process should be restarted.
	Hung() error
}

// Supervisor tells systemd how the daemon fares (sd_notify(3)): READY=1 once it serves, whether or not there is a TPM yet; STATUS= in words at each change; WATCHDOG=1 at
// half the interval that the unit demands, unless only a restart can help; STOPPING=1 at the end. Where no systemd listens, it does nothing that shows.
type Supervisor struct {
	// every is how often to say that all is well; 0: nobody wants to know.
	every  time.Duration
	notify func(state string)
	logger *slog.Logger
	// lines are those yet to be told: the last one only.
	lines chan string

	mu      sync.Mutex
	line    string            // guarded by mu, as is remarks
	remarks map[string]string // by what they are about
}

// NewSupervisor returns one that feeds the watchdog of this process's unit, if it has one.
func NewSupervisor(logger *slog.Logger) *Supervisor {
	every, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		logger.Warn("no watchdog: systemd's own variables make no sense", "error", err)
	}

	return &Supervisor{every: every / 2, notify: Notify, logger: logger, lines: make(chan string, 1)}
}

// Status takes a line for systemctl status. It never waits for systemd.
func (s *Supervisor) Status(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.line = line
	s.show()
}

// Remark takes what stands before the line of Status about a part of the daemon; empty: nothing.
func (s *Supervisor) Remark(about, remark string) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.remarks == nil {
		s.remarks = make(map[string]string)
	}

	s.remarks[about] = remark
	s.show()
}

// show puts the line together. The caller holds the lock, so that the last one is the last that is told.
func (s *Supervisor) show() {
	var parts []string

	for _, about := range slices.Sorted(maps.Keys(s.remarks)) {
		if remark := s.remarks[about]; remark != "" {
			parts = append(parts, about+": "+remark)
		}
	}

	if s.line != "" {
		parts = append(parts, s.line)
	}

	line := strings.Join(parts, "; ")

	for {
		select {
		case s.lines <- line:
			return
		default:
		}

		select { // one that nobody has read is no longer true
		case <-s.lines:
		default:
		}
	}
}

// Run tells systemd until stopped is closed, which is when the daemon has come to its end after ctx.
func (s *Supervisor) Run(ctx context.Context, stopped <-chan struct{}, daemon Supervised) {
	var beat <-chan time.Time

	if s.every > 0 {
		ticker := time.NewTicker(s.every)
		defer ticker.Stop()

		beat = ticker.C
	}

	running, stopping, hung := daemon.Running(), ctx.Done(), false

	for {
		select {
		case <-stopped:
			return
		case <-running:
			running = nil
			s.notify(systemd.SdNotifyReady)
		case <-stopping:
			stopping = nil
			s.notify(systemd.SdNotifyStopping)
		case line := <-s.lines:
			s.notify("STATUS=" + line)
		case <-beat:
			if running != nil {
				continue // systemd waits for READY=1, not for this
			}

			err := daemon.Hung()
			if err == nil {
				s.notify(systemd.SdNotifyWatchdog)
			} else if !hung {
				s.logger.Error("only a restart can help: the watchdog is not served any more", "error", err)
			}

			hung = err != nil
		}
	}
}

// Notify tells systemd (sd_notify(3)). Without NOTIFY_SOCKET it does nothing; a failure only means that nobody is told.
func Notify(state string) {
	_, _ = systemd.SdNotify(false, state)
}
