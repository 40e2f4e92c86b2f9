package api

// The EAT profile and media type of signed verdicts (draft-ietf-rats-ear-04, 3; RFC 9782, 6.2).
const (
	EARProfile   = "tag:ietf.org,2026:rats/ear#04"
	EARMediaType = "application/eat+jwt"
)

// EARHost is the one submodule of a signed verdict: the host, as the only attester.
const EARHost = "host"

// Tier is how far a host is to be trusted, in the words of draft-ietf-rats-ar4si (3.2: trustworthiness tiers).
type Tier string

// The tiers. Whatever is not TierAffirming is not trusted.
const (
	// TierNone: nothing is said. The verdict is unknown.
	TierNone Tier = "none"
	// TierAffirming: the verdict is trusted.
	TierAffirming Tier = "affirming"
	// TierContraindicated: the verdict is untrusted.
	TierContraindicated Tier = "contraindicated"
)

// EAR are the claims of a signed verdict: an EAT Attestation Result (draft-ietf-rats-ear-04, 3) in a JWT (RFC 7519). Times are in seconds since 1970 UTC. Whoever reads one has verified the
// signature by the server's JWKS, and Issuer, Expires, Audience and Subject, before anything else.
type EAR struct {
	Profile  string `json:"eat_profile"`
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`           // the node's own name; the one that was asked for if no node has it
	Audience string `json:"aud,omitempty"` // as it was asked for
	IssuedAt int64  `json:"iat"`
	NotYet   int64  `json:"nbf"`
	Expires  int64  `json:"exp"`                 // never later than the verdict ends
	Nonce    string `json:"eat_nonce,omitempty"` // as it was asked for
	// Verifier is the program that judged.
	Verifier EARVerifier `json:"ear_verifier_id"`
	// Status is affirming if and only if the verdict is trusted.
	Status Tier `json:"ear_status"`
	// Submods has one entry, EARHost.
	Submods map[string]EARAppraisal `json:"submods"`
	// Verdict is what GET /v1/hosts/{name} answers. Its claim has a collision-resistant name (RFC 7519, 4.2).
	Verdict EARVerdict `json:"https://github.com/trustpool/trustpool/verdict"`
}

// EARVerifier names a verifier (draft-ietf-rats-ar4si, 3.3).
type EARVerifier struct {
	Developer string `json:"developer"`
	Build     string `json:"build"`
}

// EARAppraisal is what was found of an attester (draft-ietf-rats-ear-04, 3.1).
type EARAppraisal struct {
	Status Tier        `json:"ear_status"`
	Vector TrustVector `json:"ear_trustworthiness_vector"`
	// Policies are "pool:NAME", and "set:NAME" for each known-good set that the evidence met; none if no node has the name.
	Policies []string `json:"ear_appraisal_policy_ids,omitempty"`
}

// TrustVector has the trustworthiness claims that can be made of a host (draft-ietf-rats-ar4si, 2.3.4): 0 claims nothing, 2 to 31 affirm, 32 to 95 warn, 96 and more speak against it.
// docs/verdicts.md says which value stands for what.
type TrustVector struct {
	InstanceIdentity int8 `json:"instance-identity"`
	Configuration    int8 `json:"configuration"`
	Executables      int8 `json:"executables"`
	Hardware         int8 `json:"hardware"`
}

// EARVerdict is a verdict with the parts of the launch that were judged.
type EARVerdict struct {
	Host
	// Parts are those of which the evidence met a known-good set: platform, hypervisor, host_specific; none unless the host is trusted.
	Parts []string `json:"parts,omitempty"`
}

// SignQuery asks for signed verdicts on many hosts at once: POST /v1/hosts:sign.
type SignQuery struct {
	// Hosts are names or aliases, at most MaxSignQuery.
	Hosts []string `json:"hosts" nullable:"false" maxItems:"1000" doc:"names or aliases"`
	SignOptions
}

// MaxSignQuery is how many names one SignQuery may have.
const MaxSignQuery = 1000

// SignOptions are what else a signed verdict is to say. Empty ones are left out of it.
type SignOptions struct {
	// Audience becomes the claim aud: whom the verdict is for, who refuses those that are for others.
	Audience string `json:"aud,omitempty" query:"aud" maxLength:"256" pattern:"^[!-~]*$" doc:"becomes the claim aud: whom the verdict is for"`
	// Nonce becomes the claim eat_nonce: 8 to 64 bytes in base64url (RFC 4648, 5), 12 to 88 characters. It shows that the verdict was signed after the nonce was made.
	Nonce string `json:"nonce,omitempty" query:"nonce" maxLength:"88" pattern:"^[A-Za-z0-9_-]*=?=?$" doc:"becomes the claim eat_nonce: 8 to 64 bytes in base64url, 12 to 88 characters"`
}

// SignedHosts is the answer to a SignQuery, with one entry for each name in their order.
type SignedHosts struct {
	Hosts []SignedHost `json:"hosts" nullable:"false"`
}

// SignedHost is a signed verdict.
type SignedHost struct {
	// Host is the name that was asked for, byte for byte.
	Host string `json:"host" doc:"the name that was asked for, byte for byte"`
	// JWT is the verdict in compact serialization (RFC 7515, 7.1).
	JWT string `json:"jwt" doc:"an EAT Attestation Result as a JWT"`
}
