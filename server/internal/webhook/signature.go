package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a delivery (Standard Webhooks 1.0.0, webhook headers).
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
)

const (
	secretPrefix         = "whsec_"
	minSecret, maxSecret = 24, 64 // bytes, as the specification has it
	maxSecrets           = 4
)

// secrets are what deliveries are signed by: more than one while they are exchanged.
type secrets [][]byte

// parseSecrets reads a file of secrets, one on a line.
func parseSecrets(content []byte) (secrets, error) {
	var all secrets
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		encoded, ok := strings.CutPrefix(line, secretPrefix)
		key, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
			return nil, fmt.Errorf("line %d is no secret; write %sBASE64 of %d to %d random bytes: echo %[2]s$(openssl rand -base64 32)", len(all)+1, secretPrefix, minSecret, maxSecret)
		}
		all = append(all, key)
	}
	if len(all) == 0 {
		return nil, errors.New("it is empty; write a secret: echo whsec_$(openssl rand -base64 32)")
	}
	if len(all) > maxSecrets {
		return nil, fmt.Errorf("it has %d secrets; write at most %d", len(all), maxSecrets)
	}
	return all, nil
}

// sign puts the headers of a delivery on a request: one signature for each secret, so that a receiver needs to know only one of them.
func (s secrets) sign(header http.Header, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, len(s))
	for i, key := range s {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	header.Set(headerID, id)
	header.Set(headerTimestamp, timestamp)
	header.Set(headerSignature, strings.Join(signatures, " "))
}
