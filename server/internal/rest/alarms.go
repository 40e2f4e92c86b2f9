package rest

import (
	"context"
	"net/http"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
)

func alarmRoutes(r *router) {
	add(r, access.Reader, operation("list-alarms", http.MethodGet, "/v1/alarms", "List alarms, the oldest first"), r.alarms)
	ack := operation("acknowledge-alarm", http.MethodPost, "/v1/alarms/{id}/acknowledge", "Note that somebody has looked at an alarm")
	ack.DefaultStatus = http.StatusNoContent
	add(r, access.Operator, ack, r.acknowledgeAlarm)
}

// ByNumber is a page of a list by number.
type ByNumber struct {
	Page
	After int64 `query:"after" minimum:"0" doc:"next of the page before"`
}

func (r *router) alarms(ctx context.Context, in *struct {
	ByNumber
	Open bool `query:"open" doc:"only those that nobody acknowledged"`
},
) (*Content[api.Alarms], error) {
	alarms, err := r.config.Store.Alarms(ctx, in.Open, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	answer := api.Alarms{Alarms: make([]api.Alarm, len(alarms))}
	for i, a := range alarms {
		answer.Alarms[i] = api.Alarm{
			ID: a.ID, At: a.At, Kind: a.Kind, Node: a.Node, Detail: a.Detail, AcknowledgedBy: a.AcknowledgedBy, AcknowledgedAt: a.AcknowledgedAt,
		}
	}
	if len(alarms) == in.Limit {
		answer.Next = alarms[len(alarms)-1].ID
	}
	return &Content[api.Alarms]{Body: answer}, nil
}

func (r *router) acknowledgeAlarm(ctx context.Context, in *struct {
	ID int64 `path:"id" minimum:"1" doc:"its number"`
},
) (*struct{}, error) {
	return nil, r.config.Store.AcknowledgeAlarm(ctx, act(ctx), in.ID)
}
