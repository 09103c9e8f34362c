<?php
namespace Workerman {

    class Timer
    {
        public static function init($event = null)
        {
        }

        public static function add($interval, $func, $args = [], $persistent = true)
        {
            return $interval < 0 ? false : \Pushd\Timers::set((float)$interval, $func, (array)$args, (bool)$persistent);
        }

        public static function repeat($interval, $func, $args = [])
        {
            return self::add($interval, $func, $args, true);
        }

        public static function delay($interval, $func, $args = [])
        {
            return self::add($interval, $func, $args, false);
        }

        public static function sleep($delay)
        {
            \Pushd\Loop::sleep((float)$delay);
        }

        public static function del($id)
        {
            return \Pushd\Timers::del((int)$id);
        }

        public static function delAll()
        {
            \Pushd\Timers::clear();
        }
    }

    /** Worker is one group of pushd's. What Workerman does by forking, pushd does. */
    #[\AllowDynamicProperties]
    class Worker
    {
        const VERSION = '5.2.2';
        const STATUS_INITIAL = 0, STATUS_STARTING = 1, STATUS_RUNNING = 2, STATUS_SHUTDOWN = 4, STATUS_RELOADING = 8;
        const DEFAULT_BACKLOG = 102400, MAX_UDP_PACKAGE_SIZE = 65535, UI_SAFE_LENGTH = 4, KILL_WORKER_TIMER_TIME = 2;
        const BUILD_IN_TRANSPORTS = ['tcp' => 'tcp', 'udp' => 'udp', 'unix' => 'unix', 'ssl' => 'tcp'];

        public $id = 0, $name = 'none', $count = 1, $user = '', $group = '', $reloadable = true, $reusePort = false;
        public $onWorkerStart, $onConnect, $onWebSocketConnect, $onWebSocketConnected, $onMessage, $onClose, $onError,
            $onBufferFull, $onBufferDrain, $onWorkerStop, $onWorkerReload, $onResume;
        public $transport = 'tcp', $protocol, $stopping = false, $eventLoop, $workerId;
        /** Through __get and __set: what pushd knows, and what the program makes of it. See Listed. */
        public $connections;

        public static $daemonize = false, $outputStream, $stdoutFile = '/dev/null', $pidFile = '', $statusFile = '', $logFile = '',
            $logFileMaxSize = 10485760, $globalEvent, $onMasterReload, $onMasterStop, $onWorkerExit, $eventLoopClass, $stopTimeout = 2,
            $processTitle = 'WorkerMan', $command = '';

        private static $workers = [], $running = false;
        private $pushdName, $pushdContext, $pushdListener;
        /** What the program has put into connections; a property as those of its own, so that a reload carries it. */
        private $addedConnections = [];

        public function __construct($socketName = null, array $socketContext = [])
        {
            unset($this->connections);
            $this->pushdName = (string)$socketName;
            $this->pushdContext = $socketContext;
            \Pushd\Names::root(\debug_backtrace(\DEBUG_BACKTRACE_IGNORE_ARGS, 1)[0]['file'] ?? '');
            if (!self::$running) {
                $this->workerId = \spl_object_hash($this);
                self::$workers[$this->workerId] = $this;
            }
        }

        /** As a part of something that is carried to the next process it is the one that is there. */
        public function __serialize(): array
        {
            return [$this === \Pushd\WorkermanProgram::$worker ? '' : "$this->name $this->pushdName"];
        }

        public function __unserialize(array $data): void
        {
            $live = \Pushd\WorkermanProgram::$worker;
            foreach (self::$workers as $one) {
                $live = "$one->name $one->pushdName" === $data[0] ? $one : $live;
            }
            foreach (\get_object_vars($live) as $name => $_) {
                $this->$name = &$live->$name;
            }
            unset($this->connections);
        }

        public function &__get($name)
        {
            if ($name === 'connections') {
                if ($this->pushdListener !== null) {
                    return $this->pushdListener->connections();
                }
                return \Pushd\Listed::all();
            }
            if (!\property_exists($this, $name)) {
                $this->$name = null;
            }
            return $this->$name;
        }

        public function __set($name, $value)
        {
            if ($name === 'connections') {
                $all = &$this->__get($name);
                $all = (array)$value;
            } else {
                $this->$name = $value;
            }
        }

        /** @internal What the program has put into connections. */
        public function &pushdAdded(): array
        {
            if ($this->addedConnections === null) { // carried over
                $this->addedConnections = [];
            }
            return $this->addedConnections;
        }

        public function __isset($name)
        {
            return $name === 'connections';
        }

        /** In a process that serves, its own. */
        public static function getAllWorkers()
        {
            $own = self::$running ? \Pushd\WorkermanProgram::$worker : null;
            return $own ? [$own->workerId => $own] : self::$workers;
        }

        public static function getEventLoop()
        {
            return self::$globalEvent;
        }

        public static function getStatus()
        {
            return self::$running ? self::STATUS_RUNNING : self::STATUS_INITIAL;
        }

        public static function isRunning()
        {
            return self::$running;
        }

        public static function getGracefulStop()
        {
            return true;
        }

        public static function getArgv()
        {
            return $_SERVER['argv'] ?? [];
        }

        /** To the log of pushd, and to $logFile where the program sets one. */
        public static function log($msg, $decorated = false)
        {
            $msg = \rtrim((string)$msg);
            \Pushd\say("$msg\n");
            if (self::$logFile !== '' && self::$logFile !== '/dev/null') {
                @\file_put_contents(self::$logFile, \date('Y-m-d H:i:s') . ' pid:' . \getmypid() . " $msg\n", \FILE_APPEND | \LOCK_EX);
            }
        }

        public static function safeEcho($msg, $decorated = false)
        {
            echo \preg_replace('~</?(?:n|w|g|b|r)>~', '', (string)$msg);
            return true;
        }

        /** Ends this process as soon as another is ready, and the connections stay. */
        public static function stopAll($code = 0, $log = '')
        {
            if ($log !== '') {
                self::log($log);
            }
            \Pushd\Program::leave($code);
        }

        public static function reloadAllWorkers()
        {
            \Pushd\Program::replace();
        }

        public static function resetStd()
        {
            \Pushd\Output::redirect(self::$stdoutFile);
        }

        public function setUserAndGroup()
        {
        }

        public function getSocketName()
        {
            return $this->pushdName !== '' ? \lcfirst($this->pushdName) : 'none';
        }

        public function getMainSocket()
        {
            if ($this->pushdListener !== null) {
                return $this->pushdListener->socket();
            }
            \Pushd\Program::once('getMainSocket', 'getMainSocket() gives nothing: the socket is pushd\'s');
            return null;
        }

        /** Within onWorkerStart, of a Worker made there: a listener of this process, which a reload cuts. */
        public function listen($autoAccept = true)
        {
            if ($this->pushdName === '' || $this->pushdListener !== null || \Pushd\ROLE !== 'handler' || !self::$running) {
                return;
            }
            \Pushd\WorkermanProgram::tellUncalled($this);
            $this->pushdListener = new \Pushd\Listener($this, $this->pushdName, $this->pushdContext);
        }

        /** The Worker that this process is for begins; one that is made in onWorkerStart listens, too. */
        public function run()
        {
            if ($this !== \Pushd\WorkermanProgram::$worker) {
                $this->listen();
            }
            if ($this->onWorkerStart) {
                \Pushd\Fibers::call($this->onWorkerStart, $this);
            }
        }

        public function unlisten()
        {
            if ($this->pushdListener !== null) {
                $this->pushdListener->close();
                $this->pushdListener = null;
            }
        }

        public function stop($force = true)
        {
            $this->unlisten();
        }

        public function pauseAccept()
        {
            \Pushd\Program::once('pauseAccept', 'pauseAccept() does nothing: the listener is pushd\'s and others share it');
        }

        public function resumeAccept()
        {
        }

        public static function runAll()
        {
            if (self::$globalEvent === null) {
                self::$globalEvent = new \Pushd\Events();
            }
            $workers = \array_values(self::$workers);
            $groups = [];
            foreach ($workers as $i => $w) {
                $groups[$i] = \Pushd\WorkermanProgram::plan($w, $w->pushdName, $w->pushdContext);
            }
            $more = ['stdout' => self::$stdoutFile, 'pidFile' => self::$pidFile, 'daemonize' => (bool)self::$daemonize];
            \Pushd\Plan::start('workerman', $groups, $more, static function ($i, $slot) use ($workers) {
                self::$running = true;
                $workers[$i]->id = $slot;
                \Pushd\Output::redirect(self::$stdoutFile);
                return new \Pushd\WorkermanProgram($workers[$i], $i);
            });
        }

        // The class is Workerman's in name alone; some programs extend it and call these.
        public function __call($name, $args)
        {
            if (\method_exists($this, $name)) { // a protected callback, which Workerman calls from within
                $m = new \ReflectionMethod($this, $name);
                $m->setAccessible(true);
                return $m->invokeArgs($this, $args);
            }
            \Pushd\Program::once("Worker::$name", "Worker::$name() is of Workerman's own process model and does nothing here");
            return null;
        }

        public static function __callStatic($name, $args)
        {
            \Pushd\Program::once("Worker::$name", "Worker::$name() is of Workerman's own process model and does nothing here");
            return null;
        }
    }
}
