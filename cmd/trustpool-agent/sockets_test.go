package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/trustpool/trustpool/agent"
)

// socketFile is a listening socket as systemd hands it over, with its address.
func socketFile(t *testing.T, name, network, address string) (*os.File, string) {
	t.Helper()

	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	if l, ok := listener.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(false)
	}

	file, err := listener.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	return renamed(t, file, name), listener.Addr().String()
}

// renamed is the same socket under the name that its unit would give.
func renamed(t *testing.T, file *os.File, name string) *os.File {
	t.Helper()

	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}

	return os.NewFile(uintptr(fd), name)
}

func TestSocketsOfSystemdTakeThePlaceOfTheConfigs(t *testing.T) {
	t.Parallel()

	tcp, tcpAddress := socketFile(t, "tcp", "tcp", "127.0.0.1:0")
	unix, unixAddress := socketFile(t, "unix", "unix", filepath.Join(t.TempDir(), "s"))
	admin, adminAddress := socketFile(t, "admin", "tcp", "127.0.0.1:0")

	given, err := fromFiles([]*os.File{admin, unix, tcp})
	if err != nil {
		t.Fatal(err)
	}

	config := agent.DefaultConfig() // whose ports another test may have; they are not opened
	config.Listen.Unix = "/nonexistent/agent.sock"

	got, err := listen(config, given)
	if err != nil {
		t.Fatal(err)
	}
	defer got.close()

	for listener, want := range map[net.Listener]string{got.tcp: tcpAddress, got.unix: unixAddress, got.admin: adminAddress} {
		if listener.Addr().String() != want {
			t.Errorf("listens on %s, want %s", listener.Addr(), want)
		}
	}
}

func TestTheAgentLeavesSystemdsUnixSocketInPlace(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "s")
	unix, _ := socketFile(t, "unix", "unix", path)

	given, err := fromFiles([]*os.File{unix})
	if err != nil {
		t.Fatal(err)
	}

	given.close()

	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestSocketsThatMeanNothingAreRefused(t *testing.T) {
	t.Parallel()

	for want, files := range map[string]func() []*os.File{
		`named "http"`: func() []*os.File {
			f, _ := socketFile(t, "http", "tcp", "127.0.0.1:0")

			return []*os.File{f}
		},
		`two sockets named "tcp"`: func() []*os.File {
			a, _ := socketFile(t, "tcp", "tcp", "127.0.0.1:0")
			b, _ := socketFile(t, "tcp", "tcp", "127.0.0.1:0")

			return []*os.File{a, b}
		},
		`"tcp" that systemd gave is one for unix`: func() []*os.File {
			f, _ := socketFile(t, "tcp", "unix", filepath.Join(t.TempDir(), "s"))

			return []*os.File{f}
		},
		`takes no connections`: func() []*os.File {
			f, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}

			return []*os.File{renamed(t, f, "tcp")}
		},
	} {
		if _, err := fromFiles(files()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestASocketForADoorThatTheConfigClosesIsRefused(t *testing.T) {
	t.Parallel()

	for key, name := range map[string]string{"listen.address": "tcp", "admin.address": "admin"} {
		file, _ := socketFile(t, name, "tcp", "127.0.0.1:0")

		given, err := fromFiles([]*os.File{file})
		if err != nil {
			t.Fatal(err)
		}

		if _, err := listen(agent.Config{}, given); err == nil || !strings.Contains(err.Error(), key+" is empty") {
			t.Errorf("%s: got %v", key, err)
		}
	}
}

func TestCallersOfSystemdsSocketOutliveTheAgent(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	serveTPM(t, filepath.Join(dir, "tpm.sock"))

	config := filepath.Join(dir, "agent.yaml")
	yaml := fmt.Sprintf("tpm: {device: %s/tpm.sock}\nlisten: {address: '', unix: %s/elsewhere.sock}\nadmin: {address: ''}\nstate_dir: %s\n", dir, dir, dir)

	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}

	path := filepath.Join(dir, "agent.sock")
	socket, _ := socketFile(t, "unix", "unix", path)

	for range 2 {
		// sd_listen_fds(3): the sockets are the descriptors from 3 on, and LISTEN_PID is the process that they are for.
		p := &process{Cmd: exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Args[0], "--config", config)}
		p.Env = append(os.Environ(), asAgent+"=1", "GORACE="+noLinger, "LISTEN_FDS=1", "LISTEN_FDNAMES=unix",
			bootIDVariable+"=0123456789ABCDEF0123456789abcdef")
		p.Stderr = &p.stderr
		p.ExtraFiles = []*os.File{socket}
		start(t, p)

		response := quoteOver(t, "unix://"+path, insecure.NewCredentials())
		if id := response.GetHints().GetBootId(); id != "01234567-89ab-cdef-0123-456789abcdef" {
			t.Errorf("boot id %q", id)
		}

		if code := p.end(t, syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d\n%s", code, p.stderr.String())
		}
	}
}
