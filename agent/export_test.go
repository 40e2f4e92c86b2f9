package agent

// Bound is for tests that play the caller.
var Bound = bound
