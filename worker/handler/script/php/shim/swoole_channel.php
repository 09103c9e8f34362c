<?php
namespace Swoole\Coroutine;

use Pushd\Fibers;
use Pushd\Queued;
use Pushd\Timers;

/** Channel is a queue of values between coroutines: who pops of an empty one, or pushes to a full one, waits. */
class Channel
{
    public $capacity, $errCode = \SWOOLE_CHANNEL_OK;

    private $values, $takers, $givers, $closed = false;

    public function __construct($capacity = 1)
    {
        $this->capacity = \max(1, (int)$capacity);
        $this->values = new \SplQueue();
        $this->takers = $this->givers = [];
    }

    public function push($data, $timeout = -1)
    {
        for ($until = self::until($timeout); $this->closed || $this->isFull();) {
            if (!$this->wait($this->givers, $until)) {
                return false;
            }
        }
        $this->values->enqueue($data);
        self::next($this->takers);
        return true;
    }

    /** What a closed one still has can be taken. */
    public function pop($timeout = -1)
    {
        for ($until = self::until($timeout); $this->isEmpty();) {
            if (!$this->wait($this->takers, $until)) {
                return false;
            }
        }
        $data = $this->values->dequeue();
        self::next($this->givers);
        return $data;
    }

    private static function until($timeout): float
    {
        return $timeout > 0 ? Timers::now() + $timeout : \INF;
    }

    /** Waits in a line until somebody is done with the other end; false: errCode says why it is over. */
    private function wait(array &$line, float $until): bool
    {
        $left = $until - Timers::now();
        if ($this->closed || $left <= 0) {
            $this->errCode = $this->closed ? \SWOOLE_CHANNEL_CLOSED : \SWOOLE_CHANNEL_TIMEOUT;
            return false;
        }
        $c = Fibers::current();
        $line[] = $c;
        Fibers::wait($left < \INF ? $left : -1.0);
        $line = \array_filter($line, static function ($other) use ($c) {
            return $other !== $c;
        });
        $this->errCode = $c->canceled ? \SWOOLE_CHANNEL_CANCELED : \SWOOLE_CHANNEL_OK;
        return !$c->canceled;
    }

    private static function next(array &$line): void
    {
        $c = \array_shift($line);
        if ($c !== null) {
            Fibers::wake($c);
        }
    }

    public function close()
    {
        if ($this->closed) {
            return false;
        }
        $this->closed = true;
        while ($this->takers || $this->givers) {
            self::next($this->takers);
            self::next($this->givers);
        }
        return true;
    }

    public function length()
    {
        return \count($this->values);
    }

    public function isEmpty()
    {
        return $this->length() === 0;
    }

    public function isFull()
    {
        return $this->length() >= $this->capacity;
    }

    public function stats()
    {
        return ['consumer_num' => \count($this->takers), 'producer_num' => \count($this->givers), 'queue_num' => $this->length()];
    }
}

class WaitGroup
{
    private $count, $waits;

    public function __construct(int $count = 0)
    {
        $this->count = $count;
    }

    public function add(int $n = 1): void
    {
        $this->count += $n;
    }

    public function done(): void
    {
        if ($this->count <= 0) {
            throw new \BadMethodCallException('WaitGroup: done() without add()');
        }
        if (--$this->count === 0 && $this->waits) {
            Fibers::wake($this->waits);
        }
    }

    public function wait($timeout = -1): bool
    {
        if ($this->count > 0) {
            $this->waits = Fibers::current();
            Fibers::wait((float)$timeout);
            $this->waits = null;
        }
        return $this->count === 0;
    }

    public function count(): int
    {
        return $this->count;
    }
}

/** Barrier waits until all coroutines that have it have let go of it. */
class Barrier
{
    private $waits;

    public static function make()
    {
        return new self();
    }

    public static function wait(self &$barrier, $timeout = -1): void
    {
        $barrier->waits = Fibers::current();
        if ($barrier->waits === null) {
            throw new \Error('Swoole\Coroutine\Barrier::wait() must be called in a coroutine');
        }
        $barrier = null; // if nobody else has it, it wakes us below
        Fibers::wait((float)$timeout);
    }

    public function __destruct()
    {
        $c = $this->waits;
        if ($c !== null) { // PHP before 8.4 cannot switch fibers here
            Queued::add(static function () use ($c) {
                Fibers::wake($c);
            });
        }
    }
}
