<?php
namespace {
    require_once __DIR__ . '/swoole_short.php';
    require_once __DIR__ . '/swoole_channel.php';
    require_once __DIR__ . '/swoole_system.php';
}

namespace Swoole {

    use Pushd\Conns;
    use Pushd\Fibers;
    use Pushd\Link;
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
            $conn = $outer ? $outer->conn : (isset(Conns::$open[Link::$current]) ? Link::$current : 0); // a request is no connection
            return Fibers::run(static function () use ($f, $args) {
                $f(...$args);
            }, [Program::class, 'uncaught'], $conn)->id;
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
        // OpenSwoole's
        const HOOK_TCP = 2, HOOK_UDP = 4, HOOK_UNIX = 8, HOOK_UDG = 16, HOOK_SSL = 32, HOOK_TLS = 64, HOOK_STREAM_FUNCTION = 128, HOOK_STREAM_SELECT = 128, HOOK_FILE = 256, HOOK_SLEEP = 512,
            HOOK_PROC = 1024, HOOK_CURL = 2048, HOOK_NATIVE_CURL = 4096, HOOK_BLOCKING_FUNCTION = 8192, HOOK_SOCKETS = 16384, HOOK_STDIO = 32768, HOOK_ALL = 2147481599;

        private static $flags = 0;

        public static function enableCoroutine($flags = \SWOOLE_HOOK_ALL, $more = \SWOOLE_HOOK_ALL)
        {
            self::$flags = \is_bool($flags) ? ($flags ? $more : 0) : (int)$flags;
            if (self::$flags) {
                Program::once('hooks', 'calls of PHP that wait, as a query does, hold up the process, also in coroutines; sleep() and usleep() let others run');
            }
            \Pushd\Nap::$hooked = (self::$flags & \SWOOLE_HOOK_SLEEP) !== 0;
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

    class Context extends \ArrayObject
    {
        public function __construct($data = [])
        {
            parent::__construct($data, self::ARRAY_AS_PROPS);
        }
    }
}
