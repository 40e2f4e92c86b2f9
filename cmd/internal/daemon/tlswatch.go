package daemon

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleFor is how long after the first sign of a change the files are read: a certificate and its key are seldom replaced in the same moment.
	settleFor = 200 * time.Millisecond
	// lookEvery is how often the files are read without a sign of change: network filesystems give none.
	lookEvery = time.Minute
)

// Run takes over the files whenever they change, until ctx ends. It watches their directories, so that a file renamed into place and a symbolic link that
// changes its target (as Kubernetes does it) count as changes.
func (t *TLS) Run(ctx context.Context) error {
	if t.svid != nil {
		return t.svid.Run(ctx)
	}

	var (
		events <-chan fsnotify.Event
		errs   <-chan error
	)

	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		t.logger.Warn("TLS files can't be watched, they are read every minute", "error", err)
	} else {
		defer func() { _ = watcher.Close() }() // it holds nothing that could be lost

		events, errs = watcher.Events, watcher.Errors
		t.watch(watcher)
	}

	t.look() // whatever changed before the watch began

	next := time.NewTimer(lookEvery)
	defer next.Stop()

	soon := false // later signs of the same change do not put it off: a busy directory would do so for ever

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events:
			if !soon {
				next.Reset(settleFor)
			}

			soon = true
		case err := <-errs:
			t.logger.Warn("watching TLS files", "error", err)
		case <-next.C:
			soon = false

			t.look()
			next.Reset(lookEvery)
		}
	}
}

// look reads the files, and says nothing that it has said already.
func (t *TLS) look() {
	t.mu.Lock()
	defer t.mu.Unlock()

	_ = t.reload(false) // it was logged
}

// watch watches the directories of all files.
func (t *TLS) watch(watcher *fsnotify.Watcher) {
	files := []string{t.files.Certificate, t.files.ClientCA, t.files.CRL}
	if t.files.Held == nil {
		files = append(files, t.files.Key)
	}

	for _, file := range files {
		path, err := CredentialPath(file)
		if err != nil || path == "" {
			continue
		}

		if err := watcher.Add(filepath.Dir(path)); err != nil {
			t.logger.Warn("TLS files can't be watched, they are read every minute", "error", err)
		}
	}
}
