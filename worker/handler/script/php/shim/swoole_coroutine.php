<?php
namespace {
    foreach (['OK' => 0, 'TIMEOUT' => -1, 'CLOSED' => -2, 'CANCELED' => -3] as $pushdName => $pushdValue) {
        \defined("SWOOLE_CHANNEL_$pushdName") || \define("SWOOLE_CHANNEL_$pushdName", $pushdValue);
    }
    unset($pushdName, $pushdValue);
    require_once __DIR__ . '/swoole_short.php';
}

namespace Swoole {

    use Pushd\Fibers;
    use Pushd\Program;
    use Pushd\Timers;

    /** Coroutines run in fibers of PHP: what waits by these classes lets others run. */
    class Coroutine
    {
        private static $options = [];

        /** Begins one and runs it until it waits; its number. One that a connection's callback begins is of that connection. */
        public static function create($f, ...$args)
        {
            if (!Fibers::room()) {
                return false;
            }
            $outer = Fibers::current();
            return Fibers::run(static function () use ($f, $args) {
                $f(...$args);
            }, [Program::class, 'uncaught'], $outer ? $outer->conn : 0)->id;
        }

        public static function set(array $options)
        {
            self::$options = $options + self::$options;
            Fibers::$most = \min(Fibers::MOST, (int)(self::$options['max_coroutine'] ?? 0) ?: Fibers::MOST);
            if (!empty($options['hook_flags'])) {
                Runtime::enableCoroutine();
            }
            return true;
        }

        public static function getOptions()
        {
            return self::$options ?: null;
        }

        public static function sleep($seconds)
        {
            if (Fibers::sleep((float)$seconds)) {
                return !self::isCanceled();
            }
            \usleep((int)($seconds * 1e6));
            return true;
        }

        public static function usleep($micros)
        {
            return self::sleep($micros / 1e6);
        }

        public static function getCid()
        {
            $c = Fibers::current();
            return $c ? $c->id : -1;
        }

        public static function getuid()
        {
            return self::getCid();
        }

        /** The number of the one that has begun it; -1: a callback has; false: there is no such coroutine. */
        public static function getPcid($cid = 0)
        {
            $c = self::find($cid);
            return $c ? $c->parent : false;
        }

        public static function getContext($cid = 0)
        {
            $c = self::find($cid);
            return $c ? $c->context = $c->context ?? new Coroutine\Context() : null;
        }

        /** Milliseconds since it waited for the first time. */
        public static function getElapsed($cid = 0)
        {
            $c = self::find($cid);
            return $c ? (int)(1000 * (Timers::now() - ($c->since ?? Timers::now()))) : -1;
        }

        public static function exists($cid)
        {
            return $cid > 0 && self::find($cid) !== null;
        }

        public static function yield()
        {
            return Fibers::wait() || !Fibers::current()->canceled;
        }

        public static function suspend()
        {
            return self::yield();
        }

        public static function resume($cid)
        {
            $c = self::find($cid);
            return $c !== null && Fibers::wake($c);
        }

        public static function cancel($cid)
        {
            $c = self::find($cid);
            if ($c === null || !$c->waits) {
                return false;
            }
            $c->canceled = true;
            return Fibers::wake($c, false);
        }

        public static function isCanceled()
        {
            $c = Fibers::current();
            return $c !== null && $c->canceled;
        }

        public static function defer($f)
        {
            $c = Fibers::current();
            if ($c === null) {
                throw new \Error('Swoole\Coroutine::defer() must be called in a coroutine');
            }
            $c->deferred[] = $f;
        }

        /** Waits until all of these have ended. */
        public static function join(array $cids, $timeout = -1)
        {
            $group = new Coroutine\WaitGroup();
            foreach ($cids as $cid) {
                if ($c = self::find((int)$cid)) {
                    $group->add();
                    $c->watchers[] = [$group, 'done'];
                }
            }
            return $group->count() > 0 && $group->wait($timeout);
        }

        public static function list()
        {
            return new \ArrayIterator(\array_keys(Fibers::all()));
        }

        public static function listCoroutines()
        {
            return self::list();
        }

        public static function stats()
        {
            $n = \count(Fibers::all());
            return ['event_num' => 0, 'signal_listener_num' => 0, 'aio_task_num' => 0, 'coroutine_num' => $n, 'coroutine_peak_num' => $n];
        }

        public static function enableScheduler()
        {
            return false; // one that never waits is ended by the limit of a callback
        }

        public static function disableScheduler()
        {
            return false;
        }

        /** OpenSwoole's. */
        public static function run($f, ...$args)
        {
            return Coroutine\run($f, ...$args);
        }

        public static function readFile($file, $flags = 0)
        {
            return Coroutine\System::readFile($file);
        }

        public static function writeFile($file, $data, $flags = 0)
        {
            return Coroutine\System::writeFile($file, $data, $flags);
        }

        public static function exec($command, $errors = true)
        {
            return Coroutine\System::exec($command, $errors);
        }

        public static function gethostbyname($name)
        {
            return Coroutine\System::gethostbyname($name);
        }

        /** @return \Pushd\Coroutine|null */
        private static function find($cid)
        {
            return $cid > 0 ? Fibers::all()[(int)$cid] ?? null : Fibers::current();
        }
    }

    class Runtime
    {
        private static $flags = 0;

        public static function enableCoroutine($flags = \SWOOLE_HOOK_ALL, $more = \SWOOLE_HOOK_ALL)
        {
            self::$flags = \is_bool($flags) ? ($flags ? $more : 0) : (int)$flags;
            if (self::$flags) {
                Program::once('hooks', 'calls of PHP that wait, as sleep() or a query, hold up the process, also in coroutines; Swoole\Coroutine::sleep() lets others run');
            }
            return true;
        }

        public static function setHookFlags($flags)
        {
            return self::enableCoroutine($flags);
        }

        public static function getHookFlags()
        {
            return self::$flags;
        }
    }
}

namespace Swoole\Coroutine {

    use Pushd\Fibers;
    use Pushd\Timers;

    class Context extends \ArrayObject
    {
        public function __construct($data = [])
        {
            parent::__construct($data, self::ARRAY_AS_PROPS);
        }
    }

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
                Timers::add(0, static function () use ($c) {
                    Fibers::wake($c);
                }, [], false);
            }
        }
    }

    class Scheduler
    {
        private $tasks = [];

        public function add($f, ...$args)
        {
            $this->tasks[] = [$f, $args];
        }

        public function parallel($n, $f, ...$args)
        {
            for ($i = 0; $i < $n; $i++) {
                $this->add($f, ...$args);
            }
        }

        public function set(array $options)
        {
            return \Swoole\Coroutine::set($options);
        }

        public function getOptions()
        {
            return \Swoole\Coroutine::getOptions();
        }

        /** Outside of a callback it comes back when all have ended. */
        public function start()
        {
            foreach ($this->tasks as [$f, $args]) {
                \Swoole\Coroutine::create($f, ...$args);
            }
            $this->tasks = [];
            if (\Pushd\Program::$serving !== null || Fibers::current() !== null || Fibers::drain()) {
                return true;
            }
            \trigger_error('all coroutines (count: ' . \count(Fibers::all()) . ') are asleep - deadlock!', \E_USER_WARNING);
            return false;
        }
    }

    /** System is what waits for the system: a sleep and a command let others run, files and names do not. */
    class System
    {
        public static function sleep($seconds)
        {
            return \Swoole\Coroutine::sleep($seconds);
        }

        /** @return array|false ['code' => …, 'signal' => …, 'output' => …] */
        public static function exec($command, $errors = true)
        {
            $p = \proc_open(['/bin/sh', '-c', $errors ? "exec 2>&1; $command" : $command], [1 => ['pipe', 'w']], $pipes);
            if (!$p) {
                return false;
            }
            \stream_set_blocking($pipes[1], Fibers::current() === null);
            for ($output = ''; !\feof($pipes[1]);) {
                $piece = (string)\fread($pipes[1], 65536);
                $output .= $piece;
                if ($piece === '' && Fibers::current() !== null && !\feof($pipes[1])) {
                    Fibers::readable($pipes[1]);
                }
            }
            \fclose($pipes[1]);
            return ['code' => \proc_close($p), 'signal' => 0, 'output' => $output];
        }

        public static function readFile($file, $flags = 0)
        {
            return @\file_get_contents($file);
        }

        public static function writeFile($file, $data, $flags = 0)
        {
            return @\file_put_contents($file, $data, $flags & \FILE_APPEND);
        }

        public static function fread($stream, $length = 0)
        {
            return $length > 0 ? \fread($stream, $length) : \stream_get_contents($stream);
        }

        public static function fgets($stream)
        {
            return \fgets($stream);
        }

        public static function fwrite($stream, $data, $length = null)
        {
            return \fwrite($stream, $length === null ? $data : \substr($data, 0, $length));
        }

        public static function gethostbyname($name, $family = 2, $timeout = -1)
        {
            $ip = \gethostbyname($name);
            return \filter_var($ip, \FILTER_VALIDATE_IP) ? $ip : false;
        }

        public static function getaddrinfo($name, $family = 2, $type = 1, $protocol = 6, $service = '', $timeout = -1)
        {
            return \gethostbynamel($name);
        }

        public static function dnsLookup($name, $timeout = 60, $type = 2)
        {
            return self::gethostbyname($name);
        }
    }
}
