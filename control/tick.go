package control

import "github.com/fastlb/fastlb/internal/clock"

// trashPeriod is how often the trash is looked at while there is something in it.
const trashPeriod = 60 * clock.Second

// Tick runs what is due by the clock: the estimator every two seconds, the defences every second, the trash every
// minute. It wants to be called every Period; when it is called late it makes up for what it missed. It tells whether
// the workers need to be told something new: then Publish.
func (c *Control) Tick(now clock.Time) (changed bool) {
	c.table.Settle()
	c.estimate(now)
	if c.trashAt <= now {
		c.table.EmptyTrash(now)
		c.trashAt = now + trashPeriod
		if c.table.Trash() == 0 {
			c.trashAt = clock.Never
		}
	}
	return c.defend(now)
}
