package ear_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/ear"
	"github.com/trustpool/trustpool/server/internal/trust"
)

const lifetime = time.Hour

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openFolder(t *testing.T) (*ear.Ring, ear.Folder) {
	t.Helper()
	folder := ear.Folder{Path: filepath.Join(t.TempDir(), "signing-keys"), Lifetime: lifetime}
	ring, err := ear.OpenFolder(folder, discard(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	return ring, folder
}

func newIssuer(t *testing.T, ring *ear.Ring) *ear.Issuer {
	t.Helper()
	issuer, err := ear.New(ear.Config{Ring: ring, Name: "us", Build: "test", Lifetime: lifetime, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// trusted is a verdict that holds for a time from now on.
func trusted(now time.Time, holds time.Duration) api.Host {
	return api.Host{Host: "node1", Node: "node1.example", Pool: "gold", Verdict: api.Verdict{
		Trust: api.Trusted, Reason: "ok", QuotedAt: now.Add(-time.Second), ExpiresAt: now.Add(holds), Generation: 7, Sets: []string{"xen"}, EKBinding: "inventory",
	}}
}

// sign signs a verdict, verifies it by the key set, and returns its claims and the key's id.
func sign(t *testing.T, issuer *ear.Issuer, host api.Host, now time.Time, parts ...trust.Part) (claims api.EAR, kid string) {
	t.Helper()
	token, err := issuer.Sign(host, parts, api.SignOptions{}, now)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	kid = signed.Signatures[0].Header.KeyID
	found := keySet(t, issuer, now).Key(kid)
	if len(found) != 1 {
		t.Fatalf("the key %s is not in the set", kid)
	}
	payload, err := signed.Verify(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims, kid
}

func keySet(t *testing.T, issuer *ear.Issuer, now time.Time) *jose.JSONWebKeySet {
	t.Helper()
	var set jose.JSONWebKeySet
	raw, err := issuer.JWKS(now)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	for _, k := range set.Keys {
		if !k.IsPublic() || !k.Valid() || k.Use != "sig" {
			t.Errorf("in the set is %+v", k)
		}
	}
	return &set
}

func TestATokenNeverOutlivesItsVerdict(t *testing.T) {
	t.Parallel()
	ring, _ := openFolder(t)
	issuer := newIssuer(t, ring)
	now := time.Date(2026, 11, 23, 9, 0, 0, 700_000_000, time.UTC)
	for holds, want := range map[time.Duration]time.Time{
		3 * time.Minute:        now.Add(3 * time.Minute),
		400 * time.Millisecond: now.Add(400 * time.Millisecond),
		time.Millisecond:       now,
		48 * time.Hour:         now.Add(lifetime),
	} {
		claims, _ := sign(t, issuer, trusted(now, holds), now)
		if claims.Status != api.TierAffirming || claims.Expires > now.Add(holds).Unix() || claims.Expires != want.Unix() {
			t.Errorf("a verdict that ends %s after %s: %s until %d", holds, now, claims.Status, claims.Expires)
		}
	}
	for _, holds := range []time.Duration{0, -time.Second} {
		if claims, _ := sign(t, issuer, trusted(now, holds), now); claims.Status != api.TierNone || claims.Verdict.Trust != api.Unknown || claims.Verdict.Sets != nil {
			t.Errorf("a verdict that ended %s ago: %+v", -holds, claims)
		}
	}
	held := api.Host{Host: "a", Node: "a", Verdict: api.Verdict{Trust: api.Untrusted, Reason: "held", ExpiresAt: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}}
	if claims, _ := sign(t, issuer, held, now); claims.Expires != now.Add(lifetime).Unix() || claims.Status != api.TierContraindicated {
		t.Errorf("a hold: %+v", claims)
	}
}

func TestTheVectorClaimsOnlyWhatWasLookedAt(t *testing.T) {
	t.Parallel()
	ring, _ := openFolder(t)
	issuer, now := newIssuer(t, ring), time.Now()
	platform, hypervisor, own := trust.Platform, trust.Hypervisor, trust.HostSpecific
	for name, test := range map[string]struct {
		binding string
		parts   []trust.Part
		want    api.TrustVector
	}{
		"hypervisor":            {"inventory", []trust.Part{hypervisor}, api.TrustVector{InstanceIdentity: 2, Executables: 3}},
		"platform":              {"chain", []trust.Part{platform}, api.TrustVector{InstanceIdentity: 2, Hardware: 2}},
		"both":                  {"inventory", []trust.Part{platform, hypervisor}, api.TrustVector{InstanceIdentity: 2, Configuration: 2, Executables: 3, Hardware: 2}},
		"host_specific only":    {"inventory", []trust.Part{own}, api.TrustVector{InstanceIdentity: 2}},
		"first use":             {"first_use", []trust.Part{platform, hypervisor, own}, api.TrustVector{Configuration: 2, Executables: 3}},
		"no binding is told of": {"", []trust.Part{platform, hypervisor}, api.TrustVector{Configuration: 2, Executables: 3}},
	} {
		host := trusted(now, time.Minute)
		host.EKBinding = test.binding
		claims, _ := sign(t, issuer, host, now, test.parts...)
		if got := claims.Submods["host"]; got.Vector != test.want || got.Status != api.TierAffirming || !slices.Equal(got.Policies, []string{"pool:gold", "set:xen"}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestNothingAffirmsAHostThatIsNotTrusted(t *testing.T) {
	t.Parallel()
	ring, _ := openFolder(t)
	issuer, now := newIssuer(t, ring), time.Now()
	for _, reason := range []trust.Reason{
		trust.OK, trust.NoQuote, trust.NotEnrolled, trust.OnHold, trust.NoPolicy, trust.WeakBinding, trust.Simulated, trust.UnknownAK, trust.QuoteInvalid, trust.Replayed, trust.PCRMissing,
		trust.NoLaunch, trust.PCRMismatch, "another",
	} {
		for _, level := range []api.Trust{api.Untrusted, api.Unknown, "", "Trusted"} {
			host := trusted(now, time.Minute)
			host.Trust, host.Reason = level, string(reason)
			claims, _ := sign(t, issuer, host, now, trust.Parts()...)
			v := claims.Submods["host"].Vector
			for _, claim := range []int8{v.InstanceIdentity, v.Configuration, v.Executables, v.Hardware} {
				if claim != 0 && claim < 32 || level != api.Untrusted && claim != 0 {
					t.Errorf("%s, %s: %+v", level, reason, v)
				}
			}
			if claims.Status == api.TierAffirming || claims.Submods["host"].Status != claims.Status || claims.Verdict.Parts != nil {
				t.Errorf("%s, %s: %+v", level, reason, claims)
			}
		}
	}
}

func TestARotationLosesNoToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ring, folder := openFolder(t)
		issuer := newIssuer(t, ring)
		host := func() api.Host { return trusted(time.Now(), 30*24*time.Hour) }
		_, first := sign(t, issuer, host(), time.Now())
		<-time.After(24 * time.Hour)

		made, err := folder.Rotate(time.Now())
		if err != nil || made.Use != ear.Upcoming || !made.From.Equal(time.Now().Add(ear.Lead)) {
			t.Fatal(made, err)
		}
		<-time.After(10 * time.Second)
		if set := keySet(t, issuer, time.Now()); len(set.Keys) != 2 || len(set.Key(made.ID)) != 1 {
			t.Errorf("the new key is not published after ten seconds: %+v", set)
		}
		<-time.After(ear.Lead - 11*time.Second)
		last, kid := sign(t, issuer, host(), time.Now())
		if kid != first {
			t.Error("the new key signs before its time")
		}
		<-time.After(time.Second)
		if _, kid := sign(t, issuer, host(), time.Now()); kid != made.ID {
			t.Errorf("%s signs, the new key is %s", kid, made.ID)
		}
		<-time.After(time.Until(time.Unix(last.Expires, 0)))
		if set := keySet(t, issuer, time.Now()); len(set.Key(first)) != 1 {
			t.Error("the old key went while a token of it may hold")
		}
		<-time.After(2 * time.Minute)
		if set := keySet(t, issuer, time.Now()); len(set.Keys) != 1 || len(set.Key(made.ID)) != 1 {
			t.Errorf("long after the rotation there is %+v", set)
		}
		next, err := folder.Rotate(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		keys, err := folder.Keys(time.Now())
		if err != nil || len(keys) != 2 || keys[0].ID != made.ID || keys[1].ID != next.ID {
			t.Errorf("the past key was not removed: %+v, %v", keys, err)
		}
	})
}

func TestOnlyItsUserMayReadAKeyThatTheServerMade(t *testing.T) {
	t.Parallel()
	_, folder := openFolder(t)
	entries, err := os.ReadDir(folder.Path)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	info, err := entries[0].Info()
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if info, err := os.Stat(folder.Path); err != nil || info.Mode().Perm() != 0o700 {
		t.Error(info.Mode(), err)
	}
	again, err := ear.OpenFolder(folder, discard(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := again.JWKS(time.Now()); err != nil || len(again) == 0 {
		t.Error(err)
	}
	if entries, err := os.ReadDir(folder.Path); err != nil || len(entries) != 1 {
		t.Error("the second start made another key", entries, err)
	}
}

func TestAKeyIsPutNowhereButWhereItWasSaid(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "signing-keys", "postgres:/signing-keys"} {
		if _, err := ear.OpenFolder(ear.Folder{Path: path, Lifetime: lifetime}, discard(), func() {}); err == nil {
			t.Errorf("%q was taken", path)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%q was made", path)
		}
	}
}

func TestWhatCanNotBeReadReplacesNoKey(t *testing.T) {
	t.Parallel()
	var failures int
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	write(t, path, p256)
	ring, err := ear.OpenFiles([]string{path}, os.ReadFile, discard(), func() { failures++ })
	if err != nil {
		t.Fatal(err)
	}
	issuer := newIssuer(t, ring)
	_, first := sign(t, issuer, trusted(time.Now(), time.Minute), time.Now())

	if err := os.WriteFile(path, []byte("-----BEGIN PRIVATE KEY-----\nhalf a ke"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ring.Reload(); err == nil || failures != 1 {
		t.Errorf("half a file was taken: %v, %d failures", err, failures)
	}
	if _, kid := sign(t, issuer, trusted(time.Now(), time.Minute), time.Now()); kid != first {
		t.Error("another key signs")
	}
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	write(t, path, ed)
	if _, kid := sign(t, issuer, trusted(time.Now().Add(time.Minute), time.Minute), time.Now().Add(time.Minute)); kid == first {
		t.Error("a file that changed is not noticed")
	}
}

func write(t *testing.T, path string, private any) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheFirstOfSeveralKeysSignsAndAllArePublished(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	paths := []string{filepath.Join(dir, "a.pem"), filepath.Join(dir, "b.pem"), filepath.Join(dir, "c.pem")}
	for i, private := range []any{p384, ed, p256} {
		write(t, paths[i], private)
	}
	for range paths {
		paths = append(paths[1:], paths[0])
		ring, err := ear.OpenFiles(paths, os.ReadFile, discard(), func() {})
		if err != nil {
			t.Fatal(err)
		}
		issuer := newIssuer(t, ring)
		keys, err := ear.FileKeys(paths, os.ReadFile, time.Now())
		if err != nil || keys[0].Use != ear.Signing || keys[1].Use != ear.Published || keys[2].Use != ear.Published {
			t.Fatal(keys, err)
		}
		if _, kid := sign(t, issuer, trusted(time.Now(), time.Minute), time.Now()); kid != keys[0].ID {
			t.Errorf("%s signs, the first is %s", kid, keys[0].ID)
		}
		if set := keySet(t, issuer, time.Now()); len(set.Keys) != 3 {
			t.Errorf("%d keys are published", len(set.Keys))
		}
	}
}

func TestAFileThatIsNoKeyIsRefusedWithWhatToDo(t *testing.T) {
	t.Parallel()
	weak, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	for want, content := range map[string]any{"P-224": weak, "*rsa.PrivateKey": rsaKey} {
		write(t, path, content)
		if err := ear.CheckFiles([]string{path}, os.ReadFile); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for want, content := range map[string]string{
		"openssl genpkey": "", "without a passphrase": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "bytes": strings.Repeat("a", 1<<17),
	} {
		read := func(string) ([]byte, error) { return []byte(content), nil }
		if err := ear.CheckFiles([]string{path}, read); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	keyless := newIssuer(t, ear.Keyless())
	if _, err := keyless.Sign(trusted(time.Now(), time.Minute), nil, api.SignOptions{}, time.Now()); !errors.Is(err, ear.ErrNoKeys) {
		t.Errorf("without a key: %v", err)
	}
	if set := keySet(t, keyless, time.Now()); len(set.Keys) != 0 {
		t.Errorf("without a key there is %+v", set)
	}
	if _, err := ear.OpenFiles(nil, os.ReadFile, discard(), func() {}); err == nil {
		t.Error("no key at all was taken")
	}
}

func TestNoSecretIsInWhatIsLogged(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	folder := ear.Folder{Path: filepath.Join(t.TempDir(), "k"), Lifetime: lifetime}
	ring, err := ear.OpenFolder(folder, slog.New(slog.NewTextHandler(&log, nil)), func() {})
	if err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(folder.Path)
	content, err := os.ReadFile(filepath.Join(folder.Path, entries[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder.Path, entries[0].Name()), content[:len(content)-30], 0o600); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(ring.Reload(), err)
	for _, line := range strings.Split(string(content), "\n")[1:3] {
		if strings.Contains(log.String(), line) || strings.Contains(err.Error(), line) {
			t.Errorf("the key is in the log: %s", &log)
		}
	}
	if !strings.Contains(log.String(), "kid=") {
		t.Errorf("the log does not say which key there is: %s", &log)
	}
}

func TestANonceIsEchoedByteForByte(t *testing.T) {
	t.Parallel()
	ring, _ := openFolder(t)
	issuer := newIssuer(t, ring)
	token, err := issuer.Sign(trusted(time.Now(), time.Minute), nil, api.SignOptions{Nonce: "AAAAAAAAAAA=", Audience: "them"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"eat_nonce": "AAAAAAAAAAA=", "aud": "them", "iss": "us"}, map[string]any{"eat_nonce": got["eat_nonce"], "aud": got["aud"], "iss": got["iss"]}); diff != "" {
		t.Error(diff)
	}
	if _, err := issuer.Sign(trusted(time.Now(), time.Minute), nil, api.SignOptions{Nonce: "short"}, time.Now()); !errors.Is(err, ear.ErrOptions) {
		t.Errorf("a short nonce: %v", err)
	}
}
