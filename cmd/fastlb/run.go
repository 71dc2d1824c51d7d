package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/fastlb/fastlb/api"
	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/director"
	"github.com/fastlb/fastlb/metrics"
)

// overrides are run's flags: each replaces what the file says.
type overrides struct {
	file       string
	interfaces []string
	cpus       string
	queues     string
	batch      int
	poll       string
	attach     string
}

func newRun(e *env) *cobra.Command {
	var o overrides
	c := &cobra.Command{
		Use:   "run [--config FILE] [--interface IF]...",
		Short: "run the director",
		Long: `Runs the director in the foreground until SIGTERM or SIGINT. SIGHUP, like fastlb reload, reads the configuration
again and applies the difference. Without a configuration it starts with an empty table on the interfaces named by
--interface, and is driven by fastlb ipvsadm. Flags override the file.`,
		RunE: func(*cobra.Command, []string) error { return o.run(e) },
	}
	f := c.Flags()
	f.StringVar(&o.file, "config", "", "the configuration `FILE`")
	f.StringArrayVar(&o.interfaces, "interface", nil, "forward on this `INTERFACE`; may be repeated")
	f.StringVar(&o.cpus, "cpus", "", "pin workers to this `LIST` of CPUs, such as 2-5,8, or auto")
	f.StringVar(&o.queues, "queues", "", "use this `LIST` of queues of every interface, such as 0-3, or all")
	f.IntVar(&o.batch, "batch", 0, "packets a `ROUND`, 1-256")
	f.StringVar(&o.poll, "poll", "", "how workers wait: `MODE` busy, adaptive or interrupt")
	f.StringVar(&o.attach, "attach", "", "how interfaces are attached: `MODE` auto, zerocopy, copy or generic")
	return c
}

// load reads the configuration and lets the flags override it.
func (o *overrides) load(e *env) (*config.Config, error) {
	c := config.Default()
	if o.file != "" {
		var err error
		if c, err = config.Load(o.file); err != nil {
			return nil, err
		}
	}
	if len(o.interfaces) > 0 {
		var list []config.Interface
		for _, name := range o.interfaces {
			i := slices.IndexFunc(c.Interfaces, func(f config.Interface) bool { return f.Name == name })
			if i >= 0 {
				list = append(list, c.Interfaces[i])
			} else {
				list = append(list, config.NewInterface(name))
			}
		}
		c.Interfaces = list
	}
	if o.cpus != "" {
		cpus, err := config.ParseCPUs(o.cpus)
		if err != nil {
			return nil, usagef("--cpus: %w", err)
		}
		c.Workers.CPUs = cpus
	}
	if o.queues != "" && o.queues != "all" {
		queues, err := config.ParseCPUs(o.queues)
		if err != nil || len(queues) == 0 {
			return nil, usagef(`--queues: %q is not all or a list of queues such as "0-3"`, o.queues)
		}
		for i := range c.Interfaces {
			c.Interfaces[i].Queues = queues
		}
	}
	if o.queues == "all" {
		for i := range c.Interfaces {
			c.Interfaces[i].Queues = nil
		}
	}
	if o.batch != 0 {
		c.Workers.Batch = o.batch
	}
	if o.poll != "" {
		c.Workers.Poll = o.poll
	}
	if o.attach != "" {
		for i := range c.Interfaces {
			c.Interfaces[i].Attach = o.attach
		}
	}
	if e.socket != defaultSocket {
		c.API.Socket = e.socket
	}
	if err := c.Validate(); err != nil { // the file is valid: the flags are not
		return nil, usagef("run's flags: %w", err)
	}
	return c, nil
}

// gcPercent lets the heap, which is small, grow further between two collections than Go would: each stops the workers twice.
const gcPercent = 400

// run is the director's life: everything that listens is opened before an interface is touched, and closed before the
// director stops.
func (o *overrides) run(e *env) (err error) {
	if o.file == "" && len(o.interfaces) == 0 {
		return usagef("run: say what to forward on: --interface IF, or --config FILE")
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	cfg, err := o.load(e)
	if err != nil {
		return err
	}
	log, level, err := newLog(e, cfg.Log)
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		log.Warn(w.Error())
	}
	socket, warning, err := api.Listen(cfg.API.Socket, cfg.API.Group)
	if err != nil {
		return err
	}
	defer socket.Close()
	if warning != "" {
		log.Warn(warning)
	}
	opt := director.Options{Config: cfg, File: o.file, Version: buildInfo().Version, Log: log, SetLog: func(l config.Log) error {
		if err := level.UnmarshalText([]byte(l.Level)); err != nil {
			return fmt.Errorf("log.level: %w", err)
		}
		return nil
	}}
	if o.file != "" {
		opt.Load = func() (*config.Config, error) { return o.load(e) }
	}
	failed := make(chan error, 2)
	serve := func(s *http.Server, f func() error) func() {
		go func() {
			if err := f(); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
		return func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if s.Shutdown(ctx) != nil { // somebody reads a long listing
				s.Close()
			}
		}
	}
	var scraped net.Listener
	if cfg.Metrics.Listen != "" {
		if scraped, err = metrics.Listen(cfg.Metrics.Listen); err != nil {
			return err
		}
		defer scraped.Close()
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	d, err := director.New(opt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	if scraped != nil {
		s := metrics.NewServer(d)
		defer serve(s, func() error { return s.Serve(scraped) })()
	}
	s := api.NewServer(d)
	defer serve(s, func() error { return s.Serve(socket) })()
	log.Info("running", zap.String("socket", cfg.API.Socket), zap.String("metrics", cfg.Metrics.Listen), zap.Int("pid", os.Getpid()))
	if err := e.notify("READY=1"); err != nil {
		log.Warn(err.Error())
	}
	for {
		select {
		case err := <-failed:
			return err
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				log.Info("stopping", zap.Stringer("signal", sig))
				_ = e.notify("STOPPING=1") // it will see
				return nil
			}
			if _, err := d.Reload(); err != nil {
				log.Error("SIGHUP", zap.Error(err))
			}
		}
	}
}

// newLog makes the log on stderr, with a level that may change.
func newLog(e *env, c config.Log) (*zap.Logger, zap.AtomicLevel, error) {
	level := zap.NewAtomicLevel()
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, level, fmt.Errorf("log.level: %w", err)
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	encoder := zapcore.NewJSONEncoder(enc)
	if c.Format != "json" {
		enc.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(enc)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.AddSync(zapcore.Lock(zapcore.AddSync(e.stderr))), level)), level, nil
}
