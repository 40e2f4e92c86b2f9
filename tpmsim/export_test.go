package tpmsim

// PID returns the process of the node's swtpm, which must be running.
func (n *Node) PID() int { return n.running.Load().cmd.Process.Pid }

// PolicyBSHA384 is the policy of the P-384 EK.
func PolicyBSHA384() []byte { return policyBSHA384() }
