// Package eventlog reads, replays, explains and writes the logs that a platform keeps of what it measured into its TPM:
// the crypto-agile TCG log, the SHA-1 log before it, Intel TXT's original TPM 2.0 log, and Linux IMA's binary list.
//
// # What a replay proves
//
// A replay folds the digests of a log, in order, into the values the PCRs must then have. If they equal values that a TPM
// signed, then the sequence of digests per PCR and bank is the one the TPM saw, up to a collision of the hash. Nothing
// else follows from the replay itself:
//
//   - An event's type is in no digest. A relabelled event replays just as well, so a policy has to bind order and
//     digest, and may use a name only to say which one it talks about.
//   - An event's data is bound only where its specification says digest = H(data); [Event.CheckData] tells.
//     All other data (names of modules, file paths, labels) are the log writer's word.
//   - Digests of other banks than the replayed one, the header, and events that are not extended
//     ([Event.Extended]) are bound by nothing.
//   - A PCR without events replays to its start value. [PCR.Events] is 0 then, and a caller who wants
//     to know that something was measured has to demand more than equal values.
//   - A log of an earlier boot replays as well as today's; freshness is the quote's business.
//
// # Input
//
// Every byte is hostile until parsed. No length is believed before it is checked against what is there, an [Event]
// aliases the input, and one slice of events is all that grows with it. What [Event.Describe] and
// [Event.Details] return is safe for a terminal: everything that is not printable is quoted.
//
// Sources, cited as PFP, TPM2 and MLE in this package:
//
//   - PFP: TCG PC Client Platform Firmware Profile Specification, 1.05 and 1.06
//   - TPM2: Trusted Platform Module Library Specification, family 2.0, revision 1.59
//   - MLE: Intel TXT Measured Launch Environment Developer's Guide, 315168-013, appendices C and E
//
// BUG: AMD SKINIT launches have no HASH_START in the log. Such logs are parsed and named, and reported as not replayable.
//
// BUG: How Intel CBnT's events (0x415 to 0x41a) are extended is in no public revision of MLE. They are replayed like any
// other event, which may not give what the TPM holds; [PCR.Doubt] says so.
package eventlog
