<?php
namespace Pushd;

/** Coroutine is one callback that may be suspended, from its beginning to its end. */
final class Coroutine
{
    private static $last = 0;

    public $id, $parent;
    /** The connection whose callback it is, or whose callback has begun it; 0: none. */
    public $conn;
    /** What it runs in, until its end. */
    public $fiber;
    /** When it was suspended for the first time, in seconds of Timers::now(); null: not yet. */
    public $since;
    /** Somebody else may wake it: it is in Fibers::wait(). */
    public $waits = false;
    public $canceled = false;
    /** Runs as long as the server does: no reload waits for it, and sleep() lets others run. So does what it begins. */
    public $aside = false;
    /** As which of Swoole's processes it runs, see SwoolePipe. */
    public $acts = 0;
    /** What runs at its end, the last one first. */
    public $deferred = [];
    /** What runs when it is gone. */
    public $watchers = [];
    /** @internal for Swoole\Coroutine::getContext() */
    public $context;

    private $f, $late, $error;

    /** $late gets what $f throws once it has been suspended: nobody else hears of it. */
    public function __construct(callable $f, callable $late, int $conn, ?self $parent)
    {
        $this->id = ++self::$last;
        $this->f = $f;
        $this->late = $late;
        $this->conn = $conn;
        $this->parent = $parent === null ? -1 : $parent->id;
        if ($parent !== null) {
            $this->aside = $parent->aside;
            $this->acts = $parent->acts;
        }
    }

    /** In its fiber: runs to the end. */
    public function run(): void
    {
        try {
            ($this->f)();
        } catch (\Throwable $e) {
            if ($this->since === null) {
                $this->error = $e;
            } else {
                ($this->late)($e);
            }
        }
        while ($f = \array_pop($this->deferred)) {
            try {
                $f();
            } catch (\Throwable $e) {
                Program::uncaught($e);
            }
        }
        $this->f = $this->late = $this->fiber = null; // what they hold is free from here on
    }

    /** Throws what it has thrown before it was suspended at all. */
    public function check(): void
    {
        if ($this->error !== null) {
            throw $this->error;
        }
    }
}
