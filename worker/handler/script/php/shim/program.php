<?php
namespace Pushd;

/**
 * Program is what a file has declared, seen from pushd: a Worker of Workerman, a
 * component of Ratchet, a server of Swoole.
 */
abstract class Program
{
    /** @var Program what this process serves */
    public static $serving;

    const FATAL = \E_ERROR | \E_CORE_ERROR | \E_COMPILE_ERROR | \E_USER_ERROR | \E_RECOVERABLE_ERROR;

    const ENDS = 'this process ends';
    const NOBODY = 2147483647; // is no process: the kernel's numbers have 22 bits

    private static $once = [];
    private static $ready = false, $master = 0; // who that was at the start: an orphan has another parent
    private static $loaded = 0, $files = 0; // how many: with ours, and without

    /** The master is the parent of the worker process that is ours: `kill -USR1` of it reloads, `kill` stops. 0: not known. */
    protected static function masterPid(): int
    {
        return self::parent(self::parent(\getmypid()));
    }

    /** posix_getppid(): the parent that a program knows is the master, which it asks for a reload by a signal; the worker obeys none. Never 0, which a kill takes for the group of who calls it. A process that ends has nobody to ask. */
    static function parentPid(): int
    {
        if (Link::$ends) {
            return self::NOBODY;
        }
        return Link::mine() && ($pid = self::masterPid()) ? $pid : (self::parent(\getmypid()) ?: \getmypid());
    }

    /** Writes the master's number where the program wants it: `kill -USR1 $(cat FILE)` reloads. */
    protected static function pidFile(string $file): void
    {
        if ($file !== '' && @\file_put_contents($file, self::masterPid()) === false) {
            self::once('pid', "$file cannot be written: " . (\error_get_last()['message'] ?? ''));
        }
    }

    /** The server ends. */
    protected static function noPidFile(string $file): void
    {
        if ($file !== '') {
            @\unlink($file);
        }
    }

    private static function parent(int $pid): int
    {
        return self::stat($pid, 4);
    }

    /** When the server was started, in seconds since 1970. */
    static function startTime(): int
    {
        static $at;
        if ($at !== null) {
            return $at;
        }
        $boot = \preg_match('~^btime (\d+)~m', (string)@\file_get_contents('/proc/stat'), $m) ? (int)$m[1] : 0;
        $ticks = self::stat(self::masterPid(), 22); // since then, 100 a second on every machine
        return $at = $boot && $ticks ? $boot + \intdiv($ticks, 100) : (int)$_SERVER['REQUEST_TIME'];
    }

    /** A field of a process, by its number in proc(5), from the third on. */
    private static function stat(int $pid, int $field): int
    {
        $stat = (string)@\file_get_contents("/proc/$pid/stat");
        return (int)(\explode(' ', \ltrim((string)\strrchr($stat, ')'), ') '))[$field - 3] ?? 0);
    }

    /** The address and the port of "host:port", "[host]:port" and "scheme://host:port"; where none is said, as behind a proxy or at a unix socket, it is 0. */
    static function split(string $address): array
    {
        $address = (string)\preg_replace('~^\w[\w+]*://~', '', $address);
        if (\preg_match('~^(?:\[(.*)\]|([^:/]*)):(\d+)$~', $address, $m)) {
            return [$m[1] . $m[2], (int)$m[3]];
        }
        return [$address, 0];
    }

    /** Callbacks that a program does before its first event. */
    abstract function start(): void;
    /** What pushd has to tell beside messages: see READY. */
    abstract function wants(): array;
    abstract function open(int $id): void;
    abstract function message(int $id, string $data, int $flags): void;
    abstract function close(int $id, int $code): void;
    /** Where references to connections may be that the next process has to get: name => object. */
    abstract function roots(): array;
    /** What pushd's events call: where and for what => callback, or the object that has them. */
    abstract function callbacks(): array;

    function resume(int $id): void
    {
    }

    /** Whether it hears of a connection that it closes when its callback is over, and not within close(). */
    function endsLater(): bool
    {
        return false;
    }

    /** The program reads of a connection again that it has paused. */
    function goOn(int $id): void
    {
    }

    /** pushd has much for a slow client, or has sent that; whether the program is to be told. */
    function buffer(int $id, bool $full): bool
    {
        if ($full) {
            Outbox::full($id);
            return Outbox::tells($id);
        }
        return Outbox::drained($id);
    }

    /** Whether the program has an answer of its own to a mistake in a callback; then the connection stays. */
    function cures(int $id, \Throwable $e): bool
    {
        return false;
    }

    function packet(string $remote, string $local, string $data): void
    {
    }

    function request(int $id, string $remote, string $local, string $raw): void
    {
        Link::frame(Link::RESPOND, $id, "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n\r\n");
    }

    function handshake(int $id, string $data): void
    {
        Link::frame(Link::ACCEPT, $id, '', 0, 101);
    }

    function channel(string $name, string $data): void
    {
    }

    function stop(bool $reload): void
    {
    }

    /** A reload leaves this process, since it wants that. */
    function reload(): void
    {
    }

    /** This process ends. */
    function ends(): void
    {
    }

    /** Serves, and ends the process. */
    static function serve(Program $program): void
    {
        self::$serving = $program;
        self::$master = self::masterPid();
        self::guard();
        Link::begin(static function () use ($program) {
            $ready = (string)\json_encode([
                'version' => Link::VERSION, 'wants' => $program->wants(),
                'title' => \basename($_SERVER['SCRIPT_FILENAME'] ?? ''), 'files' => self::said(),
            ], \JSON_INVALID_UTF8_SUBSTITUTE); // a file's name may be any bytes
            Changed::check();
            Link::frame(Link::READY, 0, $ready);
        });
        Shared::$starts = true;
        Forked::look(self::files());
        $program->start();
        Forked::back(null, true);
        Shared::$starts = false;
        Shared::begin($program->roots());
        Weak::on();
        Plain::begin($program->roots());
        Starts::begin($program->roots());
        Made::begin($program->roots());
        Marks::begin($program->roots());
        Conns::settle();
        Forget::program();
        Link::first();
        Output::ready();
        self::$ready = true;
        Loop::run($program);
        Link::$stopped = true;
        self::end(); // pushd may be gone without a word
        Timers::clear();
        Link::bye();
        exit(0);
    }

    /** Whether the program's own files have one of the words: a callback, or what it calls, may do with a connection what they say. */
    protected static function mentions(string ...$words): bool
    {
        return self::filesHave(\get_included_files(), $words);
    }

    /** The same of these files. */
    static function filesHave(array $files, array $words): bool
    {
        $any = '~' . \implode('|', \array_map('preg_quote', $words)) . '~';
        foreach ($files as $file) {
            $text = \strncmp($file, __DIR__ . '/', \strlen(__DIR__) + 1) === 0 ? '' : (string)@\file_get_contents($file);
            if (\preg_match($any, $text) && !\preg_match('~^\s*namespace\s+Workerman\b~m', $text)) {
                return true;
            }
        }
        return false;
    }

    /** Whether the program's start is over: before, pushd gives no answers, and nobody is there. */
    static function isReady(): bool
    {
        return self::$ready;
    }

    /**
     * Asks pushd for another process in the place of this one, whose callback goes on, as
     * it does itself where the code of now does not start. False: nobody serves yet.
     */
    static function replace(): bool
    {
        if (!self::$ready) {
            return false;
        }
        if (Link::$ends) {
            self::once('ends', self::ENDS . ': a stop or reload that its program asks for is not done');
        } elseif (!self::later('replace')) {
            Link::frame(Link::CALL, 0, '{"what":"replace"}');
        }
        return true;
    }

    /** Whether a destructor asks. PHP runs those on the way out of an exit, too, so what one asks for is done behind the callback, if the process is there then. */
    private static function later(string $what): bool
    {
        if (!\in_array('__destruct', \array_column(\debug_backtrace(\DEBUG_BACKTRACE_IGNORE_ARGS), 'function'), true)) {
            return false;
        }
        Timers::add(0, [self::class, $what], [], false);
        return true;
    }

    /** The program runs from here on: when it ends, none of what it does at its end stops or reloads the server. */
    static function watchEnd(): void
    {
        \register_shutdown_function([self::class, 'end']); // before those of the program
    }

    /** From here on this process ends. */
    static function end(): void
    {
        Link::$ends = true;
        if (self::$serving) {
            self::$serving->ends();
        }
    }

    /** The same where the program wants to end: before it serves it does. */
    static function leave($code = 0): void
    {
        if (!self::replace()) {
            exit($code);
        }
    }

    /** Stops the server as `kill` of its master does, where it is of this program and no other; else it says why not. */
    static function shutdown(): bool
    {
        $master = self::masterPid();
        $why = !self::$ready ? 'nothing is served yet' : (Link::$ends ? self::ENDS : '');
        if ($why === '' && self::later('shutdown')) {
            return true;
        }
        if ($why === '' && !\get_cfg_var('pushd.alone')) {
            $why = 'pushd has a config, which may serve more than this program: `pushctl stop` does';
        } elseif ($why === '' && !($master === self::$master && \function_exists('posix_kill') && @\posix_kill($master, 15))) {
            $why = 'the user of this process, or its PHP without the extension posix, has no signal for the master: `pushctl php FILE stop` does';
        }
        if ($why !== '') {
            self::once('shutdown', "shutdown() does nothing: $why");
        }
        return $why === '';
    }

    /** Says what the program has loaded since: `watch` looks for changes of it, and so does the process that comes next. */
    static function loaded(): void
    {
        if (\count(\get_included_files()) === self::$loaded) {
            return;
        }
        $before = self::$files;
        if ($new = \array_slice(self::said(), $before)) {
            Link::frame(Link::FILES, 0, \implode("\0", $new));
        }
    }

    /** What the program has loaded, and counts it as said. */
    private static function said(): array
    {
        self::$loaded = \count(\get_included_files());
        $files = self::files();
        Forked::look($files);
        self::$files = \count($files);
        return $files;
    }

    /** What the program has loaded, its main file first. */
    static function files(): array
    {
        return \array_values(\array_filter(\get_included_files(), static function ($f) {
            return \strncmp($f, __DIR__ . '/', \strlen(__DIR__) + 1) !== 0;
        }));
    }

    /** What is done when a callback ends the process, hangs, or uses up the memory. */
    private static function guard(): void
    {
        if (\in_array(\ini_get('memory_limit'), ['-1', '256M'], true)) { // without a limit PHP ends without a word, and so it does at the kernel's
            @\ini_set('memory_limit', (string)((Link::$config['memory'] ?? 0) ?: '256M'));
        }
        \register_shutdown_function(static function () { // without the program: it may go before this
            if (Link::$stopped || !Link::mine()) {
                return;
            }
            Link::$stopped = true;
            if (!self::$ready) { // there is no word but READY that pushd would hear
                Output::lastWords();
                return;
            }
            \ini_set('memory_limit', '-1');
            Link::poison();
            Link::$current = 0;
            $last = $GLOBALS['pushd leaves'] = new Leaves();
            (\error_get_last()['type'] ?? 0) & self::FATAL || Fibers::finish();
            $last->handOn();
        });
        if (!\function_exists('pcntl_async_signals')) {
            return;
        }
        \pcntl_async_signals(true);
        foreach ([\SIGINT, \SIGTERM, \SIGHUP] as $signal) { // a terminal sends them to all; pushd says when to go
            \pcntl_signal($signal, \SIG_IGN);
        }
        \pcntl_signal(\SIGUSR2, [Link::class, 'interrupt'], false);
    }

    /** Hands on what this process has: a callback has ended it. */
    static function handOn(): void
    {
        Queued::lost();
        Link::$leaving = true;
        Ends::leave();
        Conns::settle();
        Carry::give(self::$serving->roots());
        Link::bye();
    }

    /** A mistake in a callback: PHP's own words, with the stack. */
    static function uncaught(\Throwable $e): void
    {
        $text = '';
        for (; $e; $e = $e->getPrevious()) {
            $text .= ($text === '' ? 'uncaught ' : "\ncaused by ") . \get_class($e) . ': ' . $e->getMessage() . Names::hint($e->getMessage()) . " in {$e->getFile()}:{$e->getLine()}";
            foreach (\explode("\n", $e->getTraceAsString()) as $line) {
                if (\strpos($line, __DIR__ . '/') !== false || \strpos($line, '{main}') !== false) {
                    break; // from here on it is ours
                }
                $text .= "\n  $line";
            }
        }
        \Pushd\say("pushd: $text\n");
    }

    /** A hint for whoever reads the log, once. */
    static function once(string $key, string $text): void
    {
        if (!isset(self::$once[$key])) {
            self::$once[$key] = true;
            \Pushd\say("pushd: $text\n");
        }
    }
}

/** Leaves hands on also where what was queued has said exit: after that PHP runs destructors alone, those of the last globals first. */
final class Leaves
{
    private $done = false;

    public function handOn(): void
    {
        if (!$this->done) {
            $this->done = true;
            unset($GLOBALS['pushd leaves']);
            Program::handOn();
        }
    }

    public function __destruct()
    {
        $this->handOn();
    }
}

/** TookTooLong is thrown in a callback that has not come to its end in time. */
final class TookTooLong extends \Error
{
}
