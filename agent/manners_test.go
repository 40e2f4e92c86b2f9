package agent_test

import (
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/tpmsim"
)

// ended reads until the agent has hung up, and returns what was wrong by its words.
func (f *frames) ended(t *testing.T) (code http2.ErrCode) {
	t.Helper()
	must(t, f.conn.SetReadDeadline(time.Now().Add(time.Minute)))

	for {
		frame, err := f.ReadFrame()
		if os.IsTimeout(err) {
			t.Fatal("the connection stays")
		}

		if err != nil {
			return code
		}

		if goAway, ok := frame.(*http2.GoAwayFrame); ok {
			code = goAway.ErrCode
		}
	}
}

func TestTheBoundsOfAConnectionAreToldToTheCaller(t *testing.T) {
	t.Parallel()

	f := startNode(t, tpmsim.NoLaunch).frames(t)

	frame, err := f.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}

	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("the first frame is %v", frame)
	}

	for id, want := range map[http2.SettingID]uint32{http2.SettingMaxConcurrentStreams: 64, http2.SettingMaxHeaderListSize: 16 << 10} {
		if got, _ := settings.Value(id); got != want {
			t.Errorf("%v is %d, want %d", id, got, want)
		}
	}
}

func TestAConnectionThatPingsTooOftenIsClosed(t *testing.T) {
	t.Parallel()

	f := startNode(t, tpmsim.NoLaunch).frames(t)

	for range 100 {
		if err := f.WritePing(false, [8]byte{}); err != nil {
			break // the agent has hung up
		}
	}

	if code := f.ended(t); code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("closed with %v", code)
	}
}

func TestAConnectionWithoutCallsIsClosed(t *testing.T) {
	t.Parallel()

	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) { config.Listen.IdleTimeout = 3 * time.Second })
	if code := n.frames(t).ended(t); code != http2.ErrCodeNo {
		t.Errorf("closed with %v", code)
	}
}
