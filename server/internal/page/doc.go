// Package page is what the attestation server shows to people with a browser: pools at a glance, which nodes are not trusted and why, known-good sets and what a change of them would do, alarms, and
// what administrators did.
//
// It changes nothing but sessions: where something is to be decided it shows the command of trustpoolctl. It reads from the same store that the REST API answers from, and a verdict is shown as
// it stands at that moment. Who may see what is as in the API: every route takes a role, and strangers get the same form for whatever they ask, apart from the files that the form itself needs.
//
// # How it is made
//
// Templates of html/template, one stylesheet, and one script that loads the page anew when the API's event stream tells of a change. Without the script, the page reads the same and is loaded anew by
// the browser every half a minute. The content security policy takes files of this server only, and nothing inline.
//
// # What others may have had a hand in
//
// Names, aliases, labels, errors and texts of event logs come from nodes and callers. html/template escapes them where they stand, and characters that do not print, or that change the order of what
// stands beside them, are written as their numbers in all that leaves the package.
package page
