// Package daemontest has what tests of the daemons share that stand around one: an address, systemd, and who asks the admin listener.
package daemontest

import (
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
)

// FreeAddress returns one, host:port, that is free and stays so until a daemon is started on it, or again: of all 16 million hosts of the loopback network nobody else uses this one, and its port is none
// of those that callers get (ip(7): ip_local_port_range).
func FreeAddress(t testing.TB) string {
	t.Helper()

	for range 100 {
		host := net.IPv4(127, byte(1+rand.N(250)), byte(rand.N(256)), byte(1+rand.N(250)))                       // #nosec G115 G404 -- they fit, and nothing is to be guessed here
		listener, err := net.Listen("tcp", net.JoinHostPort(host.String(), strconv.Itoa(10_000+rand.N(20_000)))) // #nosec G404 -- see above
		if err != nil {
			continue
		}
		defer func() { _ = listener.Close() }() // nobody called
		return listener.Addr().String()
	}
	t.Fatal("no address is free")
	return ""
}

// NotifySocket listens in systemd's place (sd_notify(3)) at the path in dir that it returns, until the test ends, and takes each message as it comes: a daemon that is not listened to waits with its
// eleventh (net.unix.max_dgram_qlen), and would wait at its end, too.
func NotifySocket(t testing.TB, dir string) (path string, heard <-chan string) {
	t.Helper()

	path = filepath.Join(dir, "notify.sock")
	listener, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}

	messages := make(chan string, 100_000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		message := make([]byte, 4096)
		for {
			n, err := listener.Read(message)
			if err != nil {
				return
			}
			messages <- string(message[:n])
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return path, messages
}

// Get asks a URL, such as one of an admin listener, and returns the HTTP status and all that came with it.
func Get(t testing.TB, url string) (code int, body string) {
	t.Helper()

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // it is read

	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}
