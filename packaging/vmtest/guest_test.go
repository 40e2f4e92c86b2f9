//go:build vm

package vmtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// guest is a root shell in the machine.
type guest struct {
	client *ssh.Client
}

// enter connects to a guest that is up. The keys are as old as its image.
func (m *vm) enter(ctx context.Context) (*guest, error) {
	key, err := os.ReadFile(filepath.Join(m.image, "id_ed25519"))
	if err != nil {
		return nil, err
	}

	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		return nil, err
	}

	line, err := os.ReadFile(filepath.Join(m.image, "host_key.pub"))
	if err != nil {
		return nil, err
	}

	hostKey, _, _, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		return nil, err
	}

	address := fmt.Sprintf("127.0.0.1:%d", m.sshPort)

	conn, err := (&net.Dialer{Timeout: time.Minute}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}

	transport, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(hostKey), Timeout: time.Minute,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}

	return &guest{ssh.NewClient(transport, channels, requests)}, nil
}

// run has a shell in the guest carry out a script, and returns what that wrote to its standard output. A script that fails is an error with all that it wrote.
func (g *guest) run(ctx context.Context, script string) (string, error) {
	return g.feed(ctx, script, nil)
}

// put writes a file in the guest, with this owner and mode.
func (g *guest) put(ctx context.Context, path, owner, mode string, content []byte) error {
	_, err := g.feed(ctx, fmt.Sprintf("cat >%s && chown %s %[1]s && chmod %[3]s %[1]s", path, owner, mode), content)

	return err
}

func (g *guest) feed(ctx context.Context, script string, input []byte) (string, error) {
	session, err := g.session(ctx)
	if err != nil {
		return "", fmt.Errorf("in the guest: %w", err)
	}
	defer session.Close()

	hangUp := context.AfterFunc(ctx, func() { _ = session.Close() })
	defer hangUp()

	var stdout, stderr bytes.Buffer

	session.Stdin, session.Stdout, session.Stderr = bytes.NewReader(input), &stdout, &stderr

	if err := session.Run("set -eu\n" + script); err != nil {
		return stdout.String(), fmt.Errorf("in the guest: %s: %w\n%s%s", firstLine(script), errors.Join(context.Cause(ctx), err), stdout.String(), stderr.String())
	}

	return strings.TrimSpace(stdout.String()), nil
}

// session opens one. A guest that hangs does not answer; who waits for it then ends with the connection.
func (g *guest) session(ctx context.Context) (*ssh.Session, error) {
	type answer struct {
		session *ssh.Session
		err     error
	}

	answers := make(chan answer, 1)

	go func() {
		session, err := g.client.NewSession()
		answers <- answer{session, err}
	}()

	select {
	case a := <-answers:
		return a.session, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")

	return line
}
