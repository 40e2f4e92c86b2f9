package ear

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// unknownFor is how long a token holds that says that nothing is known.
const unknownFor = time.Minute

// developer names who made the program (draft-ietf-rats-ar4si, 3.3).
const developer = "https://github.com/trustpool/trustpool"

// Config is what an Issuer works with.
type Config struct {
	Ring *Ring
	// Name is the claim iss.
	Name string
	// Build names the program and its version.
	Build string
	// Lifetime bounds how long a token holds.
	Lifetime   time.Duration
	Registerer prometheus.Registerer
}

// Issuer signs verdicts. It is safe for concurrent use.
type Issuer struct {
	config Config
	signed *prometheus.CounterVec
}

// New returns an Issuer.
func New(config Config) (*Issuer, error) {
	if config.Ring == nil || config.Name == "" || config.Lifetime <= 0 || config.Registerer == nil {
		return nil, errors.New("making an issuer of signed verdicts: its configuration is not whole")
	}
	i := &Issuer{config: config, signed: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "trustpool_server_verdicts_signed_total", Help: "Verdicts that were signed, by their status: affirming, contraindicated, none.",
	}, []string{"status"})}
	for _, tier := range []api.Tier{api.TierAffirming, api.TierContraindicated, api.TierNone} {
		i.signed.WithLabelValues(string(tier))
	}
	config.Registerer.MustRegister(i.signed)
	return i, nil
}

// JWKS is the set of public keys.
func (i *Issuer) JWKS(now time.Time) ([]byte, error) { return i.config.Ring.JWKS(now) }

// ErrOptions says that what a caller wants in a token can't be there.
var ErrOptions = errors.New("the options of a signed verdict are wrong")

// CheckOptions wants a nonce to be one (draft-ietf-rats-ear-04, 3; RFC 9711, 4.1).
func CheckOptions(o api.SignOptions) error {
	if o.Nonce == "" {
		return nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(o.Nonce, "="))
	padded := strings.HasSuffix(o.Nonce, "=")
	if err != nil || padded && len(o.Nonce)%4 != 0 || len(raw) < 8 || len(raw) > 64 || len(o.Nonce) < 12 {
		return fmt.Errorf("%w: the nonce is none; write 8 to 64 random bytes in base64url, 12 to 88 characters", ErrOptions)
	}
	return nil
}

// Sign signs a verdict as it stands now. parts are those of the launch that the sets of a trusted verdict speak of.
func (i *Issuer) Sign(host api.Host, parts []trust.Part, o api.SignOptions, now time.Time) (string, error) {
	if err := CheckOptions(o); err != nil {
		return "", err
	}
	claims := i.claims(host, parts, o, now)
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("writing the claims of a verdict: %w", err)
	}
	token, err := i.config.Ring.sign(payload, now)
	if err != nil {
		return "", err
	}
	i.signed.WithLabelValues(string(claims.Status)).Inc()
	return token, nil
}

func (i *Issuer) claims(host api.Host, parts []trust.Part, o api.SignOptions, now time.Time) api.EAR {
	verdict := api.EARVerdict{Host: host}
	if verdict.Trust == api.Trusted && !verdict.TrustedAt(now) { // whoever asked for it should have seen to that
		verdict.Trust, verdict.Reason, verdict.Sets = api.Unknown, string(trust.Stale), nil
	}
	if verdict.Trust == api.Trusted {
		for _, p := range parts {
			verdict.Parts = append(verdict.Parts, string(p))
		}
	}
	tier := tierOf(verdict.Trust)
	subject := verdict.Node
	if subject == "" {
		subject = verdict.Host.Host
	}
	return api.EAR{
		Profile: api.EARProfile, Issuer: i.config.Name, Subject: subject, Audience: o.Audience, Nonce: o.Nonce,
		IssuedAt: now.Unix(), NotYet: now.Unix(), Expires: i.expires(&verdict, now).Unix(), // Unix rounds down: never later than the verdict ends
		Verifier: api.EARVerifier{Developer: developer, Build: i.config.Build}, Status: tier,
		Submods: map[string]api.EARAppraisal{api.EARHost: {Status: tier, Vector: vectorOf(&verdict), Policies: policies(&verdict)}},
		Verdict: verdict,
	}
}

// expires is when a token ends: with its verdict, or earlier.
func (i *Issuer) expires(v *api.EARVerdict, now time.Time) time.Time {
	if tierOf(v.Trust) == api.TierNone { // its times tell of a verdict that ended
		return now.Add(min(unknownFor, i.config.Lifetime))
	}
	latest := now.Add(i.config.Lifetime)
	if v.ExpiresAt.Before(latest) {
		return v.ExpiresAt
	}
	return latest
}

// policies names by what was judged.
func policies(v *api.EARVerdict) []string {
	if v.Pool == "" {
		return nil
	}
	all := []string{"pool:" + v.Pool}
	for _, set := range v.Sets {
		all = append(all, "set:"+set)
	}
	return all
}
