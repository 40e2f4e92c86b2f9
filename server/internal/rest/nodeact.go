package rest

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// nodeActRoutes are for what is done with nodes. A verb is a segment of its own: a colon may be part of a name.
func nodeActRoutes(r *router) {
	attest := operation("attest-node", http.MethodPost, "/v1/nodes/{name}/attest", "Have a node challenged at once, without waiting for the answer")
	attest.DefaultStatus = http.StatusAccepted
	add(r, access.Operator, attest, r.attest)
	add(r, access.Operator, operation("hold-node", http.MethodPost, "/v1/nodes/{name}/hold", "Refuse a node until an administrator releases it"), r.hold)
	add(r, access.Operator, operation("label-node", http.MethodPut, "/v1/nodes/{name}/labels", "Replace the labels of a node"), r.label)
	add(r, access.Admin, operation("release-node", http.MethodPost, "/v1/nodes/{name}/release", "End a hold"), r.release)
	add(r, access.Admin, operation("reenroll-node", http.MethodPost, "/v1/nodes/{name}/reenroll", "Forget a node's keys and enrol it anew"), r.reenroll)
}

// NodeAct is something that is done with a node, of the revision that it has if none is said.
type NodeAct struct {
	Named
	Change
}

// at checks the name and returns the revision.
func (a *NodeAct) at() (int64, error) {
	revision, err := a.any()
	return revision, errors.Join(a.check(), err)
}

func (r *router) attest(ctx context.Context, in *Named) (*struct{}, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return nil, r.config.Hurry(ctx, in.Name)
}

func (r *router) hold(ctx context.Context, in *struct {
	NodeAct
	Content[api.Hold]
},
) (*Tagged[api.Node], error) {
	return r.doNode(ctx, &in.NodeAct, func(a store.Act, revision int64) (trust.Node, error) {
		return r.config.Store.HoldNode(ctx, a, in.Name, revision, in.Body.Reason)
	})
}

func (r *router) release(ctx context.Context, in *NodeAct) (*Tagged[api.Node], error) {
	return r.doNode(ctx, in, func(a store.Act, revision int64) (trust.Node, error) {
		return r.config.Store.ReleaseNode(ctx, a, in.Name, revision)
	})
}

func (r *router) reenroll(ctx context.Context, in *NodeAct) (*Tagged[api.Node], error) {
	return r.doNode(ctx, in, func(a store.Act, revision int64) (trust.Node, error) {
		return r.config.Store.ReenrollNode(ctx, a, in.Name, revision)
	})
}

func (r *router) doNode(ctx context.Context, in *NodeAct, do func(store.Act, int64) (trust.Node, error)) (*Tagged[api.Node], error) {
	revision, err := in.at()
	if err != nil {
		return nil, err
	}
	n, err := do(act(ctx), revision)
	if err != nil {
		return nil, err
	}
	return r.shown(ctx, &n)
}

func (r *router) removeNode(ctx context.Context, in *NodeAct) (*struct{}, error) {
	revision, err := in.at()
	if err != nil {
		return nil, err
	}
	return nil, r.config.Store.RemoveNode(ctx, act(ctx), in.Name, revision)
}

func (r *router) label(ctx context.Context, in *struct {
	NodeAct
	Content[api.Labels]
},
) (*Tagged[api.Node], error) {
	if _, err := in.needed(); err != nil {
		return nil, err
	}
	return r.doNode(ctx, &in.NodeAct, func(a store.Act, revision int64) (trust.Node, error) {
		return r.config.Store.UpdateNode(ctx, a, in.Name, revision, func(n *trust.Node) { n.Labels = in.Body.Labels })
	})
}

func (r *router) updateNode(ctx context.Context, in *struct {
	NodeAct
	Content[api.NodeSpec]
},
) (*Tagged[api.Node], error) {
	if _, err := in.needed(); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	there, err := r.config.Store.Node(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	said, err := replacement(&in.Body, &there)
	if err != nil {
		return nil, err
	}
	answer, err := r.doNode(ctx, &in.NodeAct, func(a store.Act, revision int64) (trust.Node, error) {
		return r.config.Store.UpdateNode(ctx, a, there.Name, revision, func(n *trust.Node) {
			n.Aliases, n.Address, n.ServerName, n.Pool, n.Labels, n.Binding, n.EK = said.Aliases, said.Address, said.ServerName, said.Pool, said.Labels, said.Binding, said.EK
		})
	})
	if there.Pool != said.Pool {
		err = noPool(err)
	}
	return answer, err
}

// replacement is what the node shall be. Its name stays, and its keys come from enrolments only; both may be said again, as GET gave them.
func replacement(spec *api.NodeSpec, there *trust.Node) (trust.Node, error) {
	if spec.Name == "" {
		spec.Name = there.Name
	}
	if trust.FoldName(spec.Name) != there.Name {
		return trust.Node{}, wrong(&huma.ErrorDetail{Location: "body.name", Message: "a name never changes: remove the node and add another"})
	}
	if len(spec.Record) > 0 && !sameRecord(spec.Record, there.Record) {
		return trust.Node{}, wrong(&huma.ErrorDetail{Location: "body.record", Message: "keys come from enrolments: leave the record out, and have the node enrolled anew"})
	}
	said, errs := nodeFrom(spec, there.Record, "body")
	if len(errs) > 0 {
		return trust.Node{}, wrong(errs...)
	}
	return said, nil
}

func sameRecord(raw []byte, there *verifier.NodeRecord) bool {
	said, err := verifier.ParseNodeRecord(raw)
	if err != nil || there == nil {
		return false
	}
	one, err1 := said.Marshal()
	other, err2 := there.Marshal()
	return err1 == nil && err2 == nil && bytes.Equal(one, other)
}
