package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"
	apb "github.com/openconfig/attestz/proto/tpm_attestz"
	epb "github.com/openconfig/attestz/proto/tpm_enrollz"
	"golang.org/x/time/rate"

	"github.com/trustpool/trustpool/agent/attestz"
	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// audit tells who had what signed, who was refused, and who was not let in: to the log and, if the operator wants it, to a file.
type audit struct {
	logger *slog.Logger
	failed func() // a line could not be written to the file

	mu      sync.Mutex
	path    string
	file    *os.File
	handler slog.Handler // of the file; nil without one

	// Strangers, and callers who come too often, can make as many lines as they like; not that many are written.
	floods    *rate.Limiter
	unwritten int
}

// newAudit opens the file, if there is to be one.
func newAudit(logger *slog.Logger, config AuditConfig, failed func()) (*audit, error) {
	a := &audit{logger: logger, failed: failed, path: config.File, floods: rate.NewLimiter(10, 100)}

	return a, a.reopen()
}

// reopen opens the file again, which somebody may have moved away. If that fails, the old one is written on.
func (a *audit) reopen() error {
	if a.path == "" {
		return nil
	}

	a.mu.Lock()
	defer a.mu.Unlock()

	file, err := os.OpenFile(a.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640) // #nosec G302 G304 -- the operator names it; its group may read it, as other logs
	if err != nil {
		return fmt.Errorf("audit.file: %w", err)
	}

	old := a.file
	a.file, a.handler = file, slog.NewJSONHandler(file, nil)

	if old != nil {
		return old.Close()
	}

	return nil
}

// close closes the file.
func (a *audit) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()

	if a.file == nil {
		return nil
	}

	err := a.file.Close()
	a.file, a.handler = nil, nil

	return err
}

// write writes one line.
func (a *audit) write(level slog.Level, message string, attrs ...slog.Attr) {
	ctx := context.Background() // a line is written even if its caller has gone
	a.logger.LogAttrs(ctx, level, message, attrs...)

	a.mu.Lock()
	defer a.mu.Unlock()

	if a.handler == nil {
		return
	}

	record := slog.NewRecord(time.Now(), level, message, 0)
	record.AddAttrs(attrs...)

	if err := a.handler.Handle(ctx, record); err != nil {
		a.failed()
		a.logger.Error("the audit file can't be written", "error", err)
	}
}

// flood writes one line of a kind that others make us write, if there were not too many of them. Each line tells how many there were unwritten before it.
func (a *audit) flood(message string, attrs ...slog.Attr) {
	a.mu.Lock()

	isWritten, unwritten := a.floods.Allow(), a.unwritten
	if isWritten {
		a.unwritten = 0
	} else {
		a.unwritten++
	}

	a.mu.Unlock()

	if !isWritten {
		return
	}

	if unwritten > 0 {
		attrs = append(attrs, slog.Int("unwritten", unwritten))
	}

	a.write(slog.LevelWarn, message, attrs...)
}

// stranger writes that somebody was not let in.
func (a *audit) stranger(identity, address string, err error) {
	a.flood("connection refused", slog.String("identity", identity), slog.String("address", address), slog.String("error", err.Error()))
}

// call is what is written of a call.
type call struct {
	id       string
	method   string
	caller   Caller
	request  any
	response any
	err      error
	took     time.Duration
	timing   tpm.Timing
	denied   bool // before it got to its service
}

// called writes the one line of a call that had something signed, changed something, or was denied; of others none.
func (a *audit) called(c call) {
	message := auditedAs(c.method)

	switch {
	case c.denied && message == "":
		message = "call"
	case message == "":
		return
	}

	attrs := []slog.Attr{
		slog.String("request_id", c.id),
		slog.String("method", c.method),
		slog.String("identity", c.caller.Identity),
		slog.String("address", c.caller.Address),
	}
	attrs = append(attrs, asked(c.request)...)

	if c.err == nil {
		attrs = append(attrs, answered(c.response)...)
	} else {
		attrs = append(attrs, refused(c.request)...)
	}

	attrs = append(attrs, slog.String("result", resultOf(c.err)), slog.Duration("took", c.took))

	if !c.denied {
		attrs = append(attrs, slog.Duration("queue_time", c.timing.Queue), slog.Duration("tpm_time", c.timing.TPM))
	}

	switch {
	case c.err == nil:
		a.write(slog.LevelInfo, message, attrs...)
	case c.denied:
		a.flood(message+" refused", append(attrs, slog.String("error", c.err.Error()))...)
	default:
		a.write(slog.LevelWarn, message+" refused", append(attrs, slog.String("error", c.err.Error()))...)
	}
}

// auditedAs returns what a call is named in the log; empty for those that say only what everybody inside may know.
func auditedAs(method string) string {
	switch method {
	case agentv1.QuoteService_Quote_FullMethodName:
		return "quote"
	case apb.TpmAttestzService_Attest_FullMethodName:
		return "attestz quote"
	case epb.TpmEnrollzService_RotateOIakCert_FullMethodName:
		return "attestz certificate"
	case agentv1.EnrollmentService_GetIdentity_FullMethodName:
		return "identity"
	case agentv1.EnrollmentService_ActivateCredential_FullMethodName:
		return "credential"
	case agentv1.EnrollmentService_InstallCertificate_FullMethodName:
		return "certificate"
	case agentv1.EnrollmentService_RotateAK_FullMethodName:
		return "rotation"
	case agentv1.EnrollmentService_CommitAK_FullMethodName:
		return "commit"
	case agentv1.EnrollmentService_Reprovision_FullMethodName:
		return "reprovision"
	case agentv1.EnrollmentService_GetTLSCertificateRequest_FullMethodName:
		return "tls_request"
	default:
		return ""
	}
}

// asked tells of a request what identifies it.
func asked(request any) []slog.Attr {
	switch request := request.(type) {
	case *agentv1.QuoteRequest:
		return []slog.Attr{slog.String("nonce_sha256", digestOf(request.GetNonce())), slog.String("bind_mode", request.GetBindMode().String())}
	case *apb.AttestRequest:
		return []slog.Attr{slog.String("nonce_sha256", digestOf(request.GetNonce())), slog.String("pcrs", requestedText(attestz.Selections(request)))}
	case *agentv1.GetIdentityRequest:
		return []slog.Attr{slog.String("nonce_sha256", digestOf(request.GetNonce()))}
	case *agentv1.ActivateCredentialRequest:
		return []slog.Attr{slog.String("ak_name", hex.EncodeToString(bounded(request.GetAkName())))}
	case *agentv1.CommitAKRequest:
		return []slog.Attr{slog.String("ak_name", hex.EncodeToString(bounded(request.GetAkName())))}
	default:
		return nil
	}
}

// answered tells of a reply what was signed, and by which key.
func answered(response any) []slog.Attr {
	switch response := response.(type) {
	case *agentv1.QuoteResponse:
		return []slog.Attr{slog.String("ak_name", hex.EncodeToString(response.GetAkName())), slog.String("pcrs", selectionText(response.GetPcrBanks()))}
	case *agentv1.RotateAKResponse:
		return []slog.Attr{slog.String("ak_name", hex.EncodeToString(response.GetAkName()))}
	case *agentv1.ReprovisionResponse:
		return []slog.Attr{slog.String("ak_name", hex.EncodeToString(response.GetAkName()))}
	default:
		return nil
	}
}

// refused tells what was asked for and not had, where a reply would tell what was had.
func refused(request any) []slog.Attr {
	quote, ok := request.(*agentv1.QuoteRequest)
	if !ok {
		return nil
	}

	return []slog.Attr{slog.String("pcrs", requestedText(quote.GetPcrSelections()))}
}

// digestOf returns what logs say of a nonce: enough to find it again, nothing to use it.
func digestOf(nonce []byte) string {
	digest := sha256.Sum256(nonce)

	return hex.EncodeToString(digest[:])
}

// bounded returns as much of a caller's bytes as is fit for a log: a Name has at most 66.
func bounded(b []byte) []byte {
	return b[:min(len(b), 66)]
}

// requestedText names the PCRs of a request, as far as there are such. What a caller sends may be anything: a few banks are enough for a log.
func requestedText(selections []*agentv1.PcrSelection) string {
	const mostBanks = 8

	var parts []string

	for _, requested := range selections[:min(len(selections), mostBanks)] {
		selection := tpm.Selection{Bank: tpm2.TPMAlgID(requested.GetHashAlgo())} // #nosec G115 -- for a log
		for _, pcr := range requested.GetPcrIndices() {
			if pcr >= 0 && pcr < tpm.PCRs {
				selection.Add(int(pcr))
			}
		}

		parts = append(parts, selection.String())
	}

	if len(parts) == 0 {
		return defaultSelection()[0].String()
	}

	return strings.Join(parts, "+")
}

// selectionText names the PCRs of a reply as tpm2-tools do.
func selectionText(banks []*agentv1.PcrBank) string {
	var parts []string

	for _, bank := range banks {
		selection := tpm.Selection{Bank: tpm2.TPMAlgID(bank.GetHashAlgo())} // #nosec G115 -- our own reply
		for _, value := range bank.GetPcrValues() {
			selection.Add(int(value.GetPcrIndex()))
		}

		parts = append(parts, selection.String())
	}

	return strings.Join(parts, "+")
}
