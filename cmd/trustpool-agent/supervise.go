package main

import (
	"context"
	"log/slog"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// supervised is what systemd is told of.
type supervised interface {
	// Running is closed once callers are served.
	Running() <-chan struct{}
	// Hung says why the process should be restarted.
	Hung() error
}

// supervisor tells systemd how the daemon fares (sd_notify(3)): READY=1 once it serves, whether or not there is a TPM yet; STATUS= in words at each change; WATCHDOG=1 at
// half the interval that the unit demands, unless only a restart can help; STOPPING=1 at the end. Where no systemd listens, it does nothing that shows.
type supervisor struct {
	// every is how often to say that all is well; 0: nobody wants to know.
	every  time.Duration
	notify func(state string)
	logger *slog.Logger
	// lines are those yet to be told: the last one only.
	lines chan string
}

func newSupervisor(logger *slog.Logger) *supervisor {
	every, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		logger.Warn("no watchdog: systemd's own variables make no sense", "error", err)
	}

	return &supervisor{every: every / 2, notify: notify, logger: logger, lines: make(chan string, 1)}
}

// status takes a line for systemctl status. It never waits for systemd.
func (s *supervisor) status(line string) {
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

// run tells systemd until stopped is closed, which is when the daemon has come to its end after ctx.
func (s *supervisor) run(ctx context.Context, stopped <-chan struct{}, daemon supervised) {
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
