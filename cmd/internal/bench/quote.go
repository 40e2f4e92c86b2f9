package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// newNonce returns fresh random bytes.
func newNonce() []byte {
	nonce := make([]byte, 32)
	_, _ = rand.Read(nonce) // never fails

	return nonce
}

// repeat takes the time of calls, one after the other. What a call returns checks its answer, outside of that time.
func repeat(ctx context.Context, calls int, call func(context.Context) (check func() error, err error)) ([]time.Duration, error) {
	times, checks := make([]time.Duration, 0, calls), make([]func() error, 0, calls)

	for range calls {
		began := time.Now()

		check, err := call(ctx)
		if err != nil {
			return nil, err
		}

		times = append(times, time.Since(began))
		checks = append(checks, check)
	}

	for _, check := range checks {
		if err := check(); err != nil {
			return nil, err
		}
	}

	return times, nil
}

// quote asks for one quote; what it returns looks into the answer.
func quote(ctx context.Context, c *client.Client, o client.QuoteOptions) (check func() error, err error) {
	o.Nonce = newNonce()

	reply, err := c.Quote(ctx, o)
	if err != nil {
		return nil, err
	}

	return func() error { return checkReply(reply, o) }, nil
}

// checkReply runs the verifier on a reply. Here it has no known-good values, so its verdict is a refusal; all that shows the quote to be a fresh one, of this call
// and connection, by a TPM's key, has to pass. Of an aggregated one, CheckNonce includes the proof that this call is a leaf of the signed tree.
func checkReply(reply client.Reply, o client.QuoteOptions) error {
	mode := verifier.BindBound
	if o.Raw {
		mode = verifier.BindRaw
	}

	if isAggregated := reply.Evidence.Aggregation != nil; isAggregated != o.AcceptAggregation {
		return fmt.Errorf("checking a reply: aggregated is %t, and should be %t", isAggregated, o.AcceptAggregation)
	}

	result := verifier.Verify(reply.Evidence, verifier.Policy{Nonce: o.Nonce, BindMode: mode})

	want := map[verifier.CheckName]bool{
		verifier.CheckMagic: true, verifier.CheckType: true, verifier.CheckSignature: true, verifier.CheckQualifiedSigner: true,
		verifier.CheckNonce: true, verifier.CheckSelection: true, verifier.CheckPCRDigest: true, verifier.CheckFreshness: true,
	}

	for _, check := range result.Checks {
		if !want[check.Name] {
			continue
		}

		if check.Outcome != verifier.Passed {
			return fmt.Errorf("checking a reply: %s: %s %s", check.Name, check.Outcome, check.Detail)
		}

		delete(want, check.Name)
	}

	if len(want) > 0 {
		return errors.New("checking a reply: the verifier left out checks")
	}

	return nil
}

// kept asks on a connection that is kept open.
func kept(c *client.Client, o client.QuoteOptions) timed {
	return func(ctx context.Context, calls int) ([]time.Duration, error) {
		return repeat(ctx, calls, func(ctx context.Context) (func() error, error) { return quote(ctx, c, o) })
	}
}

// each makes a new connection for each call. With a session cache, TLS resumes the session of the one before.
func each(address string, config *tls.Config) timed {
	return func(ctx context.Context, calls int) ([]time.Duration, error) {
		return repeat(ctx, calls, func(ctx context.Context) (func() error, error) {
			c, err := client.Dial(client.Options{Address: address, TLS: config})
			if err != nil {
				return nil, err
			}

			check, err := quote(ctx, c, client.QuoteOptions{})

			return check, errors.Join(err, c.Close())
		})
	}
}

// noTPM asks for what the daemon knows without its TPM: the part of a call that is no quote.
func noTPM(c *client.Client) timed {
	return func(ctx context.Context, calls int) ([]time.Duration, error) {
		return repeat(ctx, calls, func(ctx context.Context) (func() error, error) {
			_, err := c.Capabilities(ctx)

			return func() error { return nil }, err
		})
	}
}
