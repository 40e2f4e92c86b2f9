package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// enrollFlags are those of one enroll command.
type enrollFlags struct {
	connection
	name      string
	inventory string
	roots     []string
	crls      []string
	firstUse  bool
	refuse    string
	tpmTLSKey bool
	out       console.File
	csr       bool
}

func newEnroll(out *console.Output) *cobra.Command {
	var flags enrollFlags
	cmd := &cobra.Command{
		Use:   "enroll --address ADDRESS --name NODE {--inventory FILE | --ek-roots FILE | --first-use} {--out FILE | --csr}",
		Short: "Bind a node's attestation key to its TPM, and the TPM to the node",
		Long: `enroll asks a node for its keys, checks how they were made, and has its TPM open a credential that only the TPM with this
endorsement key (EK) and this attestation key (AK) can open. What it found is written to --out, for verify --node.

What ties the TPM to the name is for you to choose:

  --inventory FILE  You knew the EK before: it is that machine's TPM, as far as the inventory is right. A CSV file with the first line
                    node,ek_name,ek_serial,ek_issuer; a line has the EK's Name in hex, or its certificate's serial number (hex) and issuer
                    (as openssl x509 -nameopt RFC2253 prints it), or both. Serial numbers need --ek-roots too.
  --ek-roots FILE   The EK has a certificate by a maker that you trust, and the node's server certificate has exactly the name --name. It is
                    a genuine TPM that was reached under this name; which machine it sits in is not proven.
  --first-use       Whoever answers first is taken. That proves nothing about hardware: it may be a software TPM.

--ek-roots is a PEM bundle of CA certificates, roots and intermediates in any order; it may stand beside the others, and is then
demanded as well. --ek-crl files (PEM or DER) must, once there is one, cover each certificate on the way to the root.

With --csr the node's AK is printed as JSON for an operator's CA instead of, or beside, being written to --out. To sign it with openssl:

  trustpoolctl enroll --address ... --name node1.example --inventory inventory.csv --csr >request.json
  jq -r .ak_public_pem request.json >ak.pem
  printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=2.23.133.8.3\n' >ak.ext
  openssl x509 -new -force_pubkey ak.pem -subj /CN=node1.example -CA ca.pem -CAkey ca-key.pem -days 365 -extfile ak.ext -out ak-cert.pem
  trustpoolctl install-certificate --address ... --certificate ak-cert.pem

Exit codes:
  0  enrolled
  1  failed: the node could not be asked
  2  wrong usage
  4  refused: a check failed, nothing was written`,
		Example: `  trustpoolctl enroll --address node1.example:9443 --tls-dir /etc/trustpool --name node1.example --inventory inventory.csv --out node1.json
  trustpoolctl enroll --address node1.example:9443 --tls-dir /etc/trustpool --name node1.example --ek-roots makers.pem --out node1.json`,
		Args: console.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return enroll(cmd.Context(), flags, out) },
	}
	flags.register(cmd)
	flags.registerDemands(cmd)
	cmd.Flags().StringVar(&flags.name, "name", "", "the `name` that the node shall have")
	flags.out.Register(cmd, "out", "write the node's record to this `file`")
	cmd.Flags().BoolVar(&flags.csr, "csr", false, "print the AK as JSON, for a CA")
	return cmd
}

func (f *enrollFlags) registerDemands(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.inventory, "inventory", "", "CSV `file` that names each node's EK")
	cmd.Flags().StringArrayVar(&f.roots, "ek-roots", nil, "PEM `file` with the CAs of TPM makers; may be repeated")
	cmd.Flags().StringArrayVar(&f.crls, "ek-crl", nil, "`file` with revocation lists of TPM makers; may be repeated")
	cmd.Flags().BoolVar(&f.firstUse, "first-use", false, "take whoever answers")
	cmd.Flags().BoolVar(&f.tpmTLSKey, "require-tpm-tls-key", false, "refuse a node whose TLS key is not proven to be in its TPM")
	cmd.Flags().StringVar(&f.refuse, "refuse", "", "`file` with the Names of AKs that are refused, one a line")
}

func enroll(ctx context.Context, flags enrollFlags, out *console.Output) error {
	policy, err := flags.policy()
	if err != nil {
		return err
	}
	check := flags.out.Check
	if flags.csr {
		check = flags.out.CheckOptional
	}
	if err := check(); err != nil {
		return err
	}

	var run enrolment
	err = flags.ask(ctx, func(ctx context.Context, agent *client.Client) error {
		run, err = enrollBy(ctx, agent, policy, flags.address)
		return err
	})
	if errors.Is(err, client.ErrMalformed) {
		view := newUnreadEnrollView(flags.name, flags.address, err)
		return out.Refuse(view, view.text)
	}
	if err != nil {
		return fmt.Errorf("could not enrol: %w", err)
	}
	return flags.tell(run, out)
}

// tell writes the record and prints what was found, in that order: what is printed as written is written.
func (f *enrollFlags) tell(run enrolment, out *console.Output) error {
	view := &enrollView{Name: f.name, Address: f.address, Enrolled: run.checked.Enrolled(), Enrollment: run.checked, identity: run.identity}
	if view.Enrolled && f.out.Path != "" {
		if err := writeRecord(f.out, run.record); err != nil {
			return err
		}
		view.WrittenTo = f.out.Path
	}
	if view.Enrolled && f.csr {
		request, err := newAKRequest(run)
		if err != nil {
			return err
		}
		return (&console.Output{Stdout: out.Stdout, JSON: true}).Print(request, nil)
	}

	if !view.Enrolled {
		return out.Refuse(view, view.text)
	}
	return out.Print(view, view.text)
}

// enrolment is one run of enroll: what was asked with, what was answered, and what came out. The record is empty unless the node was enrolled.
type enrolment struct {
	policy   verifier.EnrollPolicy
	identity verifier.Identity
	checked  *verifier.Enrollment
	record   verifier.NodeRecord
}

// enrollBy asks the agent. A node that is refused is no error: the checks tell.
func enrollBy(ctx context.Context, agent *client.Client, policy verifier.EnrollPolicy, address string) (enrolment, error) {
	nonce, err := freshNonce()
	if err != nil {
		return enrolment{}, err
	}
	reply, err := agent.Identity(ctx, nonce)
	if err != nil {
		return enrolment{}, err
	}
	policy.Nonce, policy.At, policy.ServerNames, policy.ServerKey = nonce, time.Now(), reply.ServerNames, reply.ServerKey

	run := enrolment{policy: policy, identity: reply.Identity, checked: verifier.Enroll(reply.Identity, policy)}
	if len(run.checked.Failures()) > 0 {
		return run, nil
	}
	challenge, err := run.checked.Challenge()
	if err != nil {
		return run, err
	}
	secret, err := agent.ActivateCredential(ctx, challenge)
	if err != nil && !cannotOpen(err) {
		return run, err
	}
	if run.record, err = run.checked.Finish(secret, address, time.Now()); err != nil && run.checked.Check(verifier.CheckCredential).Outcome != verifier.Failed {
		return run, err
	}
	return run, nil
}

// cannotOpen tells whether the node answered that its TPM does not open the credential, which is a wrong answer and not a call that failed.
func cannotOpen(err error) bool {
	switch client.Reason(err) {
	case agentv1.ErrorReason_ERROR_REASON_CREDENTIAL_INVALID, agentv1.ErrorReason_ERROR_REASON_EK_UNKNOWN, agentv1.ErrorReason_ERROR_REASON_AK_UNKNOWN:
		return true
	default:
		return false
	}
}

// ask dials the node and closes the connection once do has ended. All of do has to be done within --timeout.
func (c *connection) ask(ctx context.Context, do func(context.Context, *client.Client) error) error {
	if c.timeout <= 0 {
		return console.Usagef("--timeout has to be more than 0")
	}
	agent, err := c.dial()
	if err != nil {
		return err
	}
	defer func() { _ = agent.Close() }() // all answers are in

	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return do(ctx, agent)
}
