// Package access knows who is calling the attestation server, and what they may do: reader < operator < admin.
//
// A caller shows a bearer token (RFC 6750) or a client certificate. Of a token the server keeps a digest; a certificate is known by its names, by the rules of the configuration. Whoever shows
// neither is a stranger, and all strangers are answered the same.
package access
