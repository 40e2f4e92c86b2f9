//go:build vm

package vmtest_test

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mostExposed is what systemd-analyze security may give the daemon at most, of 10.
const mostExposed = 1.5

// hardened asks systemd what the service could do if it were taken over, and the kernel whether AppArmor confines it.
func hardened(ctx context.Context, t *testing.T, s *stage) {
	said := s.in(ctx, t, "systemd-analyze security --no-pager "+unit)

	found := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(said)
	if found == nil {
		t.Fatalf("no exposure level in\n%s", said)
	}

	if level, err := strconv.ParseFloat(found[1], 64); err != nil || level > mostExposed {
		t.Errorf("the exposure level is %s, want at most %v\n%s", found[1], mostExposed, said)
	}

	label := s.in(ctx, t, "cat /proc/$(systemctl show --property=MainPID --value "+unit+")/attr/current")
	if label != "trustpool-agent (enforce)" {
		t.Errorf("AppArmor says of the daemon: %s", label)
	}

	t.Log(lastLines(said, 1), label)
}

// doctor has the agent say itself whether all is well. What it may warn of is what this machine has not: TXT.
func doctor(ctx context.Context, t *testing.T, s *stage) {
	t.Log(s.in(ctx, t, "trustpool-agent doctor"))
}

// traced has the confined agent send spans to a collector, of which there is as much as hears the first words of HTTP/2 (RFC 9113, 3.4).
func traced(ctx context.Context, t *testing.T, s *stage) {
	const dropIn = "/etc/systemd/system/" + unit + ".d/traces.conf"

	s.in(ctx, t, `perl -MIO::Socket::INET -e '
			$listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1:4317", Listen => 1, ReuseAddr => 1) or die "$!";
			alarm 300;
			read($listener->accept, $said, 14);
			open($heard, ">", "/run/heard") && print($heard $said) && close($heard)' </dev/null >/dev/null 2>&1 &
		mkdir -p $(dirname `+dropIn+`)
		printf '[Service]\nEnvironment=OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317\n' >`+dropIn+`
		systemctl daemon-reload && systemctl restart `+unit)
	s.quotes(ctx, t, time.Minute)

	until(ctx, t, time.Minute, "a span", func(ctx context.Context) error {
		_, err := s.guest.run(ctx, "grep 'PRI \\* HTTP/2.0' /run/heard")

		return err
	})

	s.in(ctx, t, "rm "+dropIn+" && systemctl daemon-reload && systemctl restart "+unit)
	s.quotes(ctx, t, time.Minute)
}

// unbroken looks for what AppArmor denied since the machine was started.
func unbroken(ctx context.Context, t *testing.T, s *stage) {
	said := s.in(ctx, t, "journalctl --boot --no-pager --output=cat _TRANSPORT=kernel + _TRANSPORT=audit | grep 'apparmor=' || true")

	for line := range strings.Lines(said) {
		if strings.Contains(line, `apparmor="DENIED"`) {
			t.Error(line)
		}
	}

	if !strings.Contains(said, "apparmor=") {
		t.Error("the kernel's log does not even tell of the profile's being loaded")
	}
}
