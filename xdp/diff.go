package xdp

// Changes is what an update does to the maps, for logs.
type Changes struct{ Added, Changed, Removed int }

// Any tells whether there is anything to do.
func (c Changes) Any() bool { return c != Changes{} }

// difference is how to get from one state of the maps to another. It is applied in the order of its fields, so that under
// traffic a packet that belongs to the director before and after is taken at every moment in between: first what is new
// (ports of mark sets before the ranges that refer to them), then the features, then what is gone, ranges first.
type difference struct {
	putEntries  map[steerRuleKey]steerAddressFlag
	putMarks    map[steerMarkKey]steerMarkValue
	features    steerFeature
	setFeatures bool
	dropMarks   []steerMarkKey
	dropEntries []steerRuleKey
}

func diff(from, to tables) (d difference, c Changes) {
	d.putEntries, d.dropEntries = diffMap(from.entries, to.entries, &c)
	d.putMarks, d.dropMarks = diffMap(from.marks, to.marks, &c)
	d.features, d.setFeatures = to.features, from.features != to.features
	return d, c
}

func diffMap[K comparable, V comparable](from, to map[K]V, c *Changes) (put map[K]V, drop []K) {
	put = make(map[K]V)
	for k, v := range to {
		before, there := from[k]
		switch {
		case !there:
			c.Added++
		case before != v:
			c.Changed++
		default:
			continue
		}
		put[k] = v
	}
	for k := range from {
		if _, stays := to[k]; !stays {
			drop = append(drop, k)
			c.Removed++
		}
	}
	return put, drop
}
