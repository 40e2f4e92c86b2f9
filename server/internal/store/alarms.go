package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The kinds of alarms.
const (
	// AlarmNameTaken: somebody claimed a name that belongs to another node.
	AlarmNameTaken = "name_taken"
	// AlarmKeyChanged: a key signed for a node that is not enrolled for it.
	AlarmKeyChanged = "key_changed"
	// AlarmKeyShared: a node has the EK of another one, and a TPM is in one machine.
	AlarmKeyShared = "key_shared"
)

// Alarm is something that an administrator has to look at.
type Alarm struct {
	ID     int64
	At     time.Time
	Kind   string
	Node   string
	Detail string
	// AcknowledgedBy is empty until somebody has looked.
	AcknowledgedBy string
	AcknowledgedAt time.Time
}

func (t tx) alarm(at time.Time, kind, node, detail string) error {
	_, err := t.exec("INSERT INTO alarms (at, kind, node, detail, acknowledged_by, acknowledged_at) VALUES ($1, $2, $3, $4, '', 0)", millis(at), kind, node, detail)
	return err
}

// Alarm raises one.
func (s *Store) Alarm(ctx context.Context, at time.Time, kind, node, detail string) error {
	if err := s.change(ctx, func(t tx) error { return t.alarm(at, kind, node, detail) }); err != nil {
		return fmt.Errorf("raising an alarm: %w", err)
	}
	return nil
}

// alarmTaken raises an alarm for each name, in a transaction of its own: the one that met them is undone.
func (s *Store) alarmTaken(ctx context.Context, a Act, names []*TakenError) error {
	if len(names) == 0 {
		return nil
	}
	return s.change(ctx, func(t tx) error {
		var errs []error
		for _, n := range names {
			detail := fmt.Sprintf("%s wanted to give the name %s, which belongs to the node %s, to another node", a.By, n.Name, n.Owner)
			errs = append(errs, t.alarm(a.At, AlarmNameTaken, n.Owner, detail))
		}
		return errors.Join(errs...)
	})
}

// Alarms returns up to limit alarms after that number, the oldest first; only those that nobody acknowledged if open is set.
func (s *Store) Alarms(ctx context.Context, open bool, after int64, limit int) (alarms []Alarm, err error) {
	err = s.look(ctx, func(t tx) error {
		statement := "SELECT id, at, kind, node, detail, acknowledged_by, acknowledged_at FROM alarms WHERE id > $1 AND (acknowledged_by = '' OR NOT $2) ORDER BY id LIMIT $3"
		return t.rows(statement, []any{after, open, limit}, func(scan func(...any) error) error {
			var (
				alarm  Alarm
				at, by int64
			)
			err := scan(&alarm.ID, &at, &alarm.Kind, &alarm.Node, &alarm.Detail, &alarm.AcknowledgedBy, &by)
			alarm.At, alarm.AcknowledgedAt = moment(at), moment(by)
			alarms = append(alarms, alarm)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the alarms: %w", err)
	}
	return alarms, nil
}

// AcknowledgeAlarm notes that somebody has looked.
func (s *Store) AcknowledgeAlarm(ctx context.Context, a Act, id int64) error {
	err := s.act(ctx, a, func(t tx) (entry, error) {
		n, err := t.exec("UPDATE alarms SET acknowledged_by = $2, acknowledged_at = $3 WHERE id = $1 AND acknowledged_by = ''", id, a.By, millis(a.At))
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return entry{"alarm.acknowledge", fmt.Sprint(id), nil}, err
	})
	if err != nil {
		return fmt.Errorf("acknowledging the alarm %d: %w", id, err)
	}
	return nil
}
