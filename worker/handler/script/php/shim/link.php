<?php
namespace Pushd;

/**
 * Link is the socket to pushd: frames of docs/script-protocol.md, many per read
 * and write. A frame is u32 length of the payload, u8 op, u8 flags, u16 aux,
 * u64 connection, payload; little-endian.
 */
final class Link
{
    const VERSION = 1;
    const OPEN = 1, MESSAGE = 2, CLOSE = 3, FULL = 4, DRAIN = 5, PACKET = 6, RESUME = 7, TICK = 8, STOP = 9, REQUEST = 10,
        CARRIED = 11, HANDSHAKE = 12, CHANNEL = 13, ANSWER = 14, CONFIG = 15, ALARM = 16, LEAVING = 17, RELOAD = 18;
    const READY = 32, SEND = 33, MANY = 34, END = 35, PAUSE = 36, GOON = 37, SESSION = 38, ALL = 39, DONE = 40, POISON = 41,
        HELD = 42, CARRY = 43, BYE = 44, PUBLISH = 45, JOIN = 46, LEAVE = 47, BIND = 48, ORDER = 49, SUBSCRIBE = 50,
        RESPOND = 51, ACCEPT = 52, CALL = 53, ASK_OPENS = 54, TIMER = 55, REPLY = 56, FILES = 57;
    /** What is never a callback that may be suspended. */
    const MAIN = [self::TICK, self::LEAVING, self::STOP, self::CARRIED, self::HANDSHAKE, self::ALARM];
    /** What is of the connection that it names. */
    const OWNED = [self::OPEN, self::RESUME, self::MESSAGE, self::CLOSE, self::FULL, self::DRAIN];
    const TAKEN = 0; // no op of pushd's: an event that was done before its turn
    const BINARY = 1, ON = 1, SUCCESSOR = 1, MORE = 1, WHOLE = 1;
    const HEADER = 16;
    const READ = 262144; // bytes read at once, and written before a turn is over

    /** The connection whose callback runs; 0: none. */
    public static $current = 0;
    /** A callback of the program runs: pushd may interrupt it. */
    public static $busy = false;
    /** This process ends: what it asks for now, to stop or to reload, is not done. */
    public static $ends = false;
    /** No more frames are taken: pushd has said so, or the process ends. */
    public static $stopped = false;
    /** This process is being replaced: what is closed now is not. */
    public static $leaving = false;
    /** pushd finds that the end of this process takes too long: only what it hands on has time. */
    public static $hurry = false;
    public static $config = [];

    /** Bytes of the longest payload that pushd takes; a longer one would be the end of this process. */
    public static $most = 1114112;

    private static $socket, $pid = 0, $in = '', $at = 0, $out = '';
    public static $questions = 0; // asked so far
    private static $begun = 0; // events of this batch that have begun, without answers
    private static $parted = false; // the program has had its last words
    private static $writing = false, $late = false, $first;
    // Sends of one string to many, one after the other, become one frame.
    private static $same = '', $sameFlags = 0, $ids = [], $n = 0, $room = 0;

    /** Opens the link; pushd's first frame is the configuration. */
    static function open(): void
    {
        self::$pid = \getmypid();
        self::$socket = \fopen('php://fd/3', 'r+');
        if (!self::$socket) {
            \Pushd\say("pushd: descriptor 3 is not there: a handler is started by pushd\n");
            exit(1);
        }
        \stream_set_blocking(self::$socket, true);
        \stream_set_timeout(self::$socket, 1000000);
        \stream_set_chunk_size(self::$socket, self::READ);
        \stream_set_read_buffer(self::$socket, 0); // else PHP reads ahead, and a select does not see it
        \stream_set_write_buffer(self::$socket, 0);
        while (($config = self::take(self::CONFIG, 0)) === null && self::read());
        self::$config = (array)\json_decode((string)$config, true);
        self::$most = (int)(self::$config['max_reply'] ?? self::$most);
    }

    static function socket()
    {
        return self::$socket;
    }

    static function frame(int $op, int $id = 0, string $data = '', int $flags = 0, int $aux = 0): void
    {
        if (Forked::refuses($op)) {
            return;
        }
        if (self::$n) {
            self::merge();
        }
        if (\strlen($data) > self::$most && $op !== self::CARRY) {
            self::tooLong(\strlen($data));
            return;
        }
        self::$out .= \pack('VCCvP', \strlen($data), $op, $flags, $aux, $id) . $data;
        if (\strlen(self::$out) > self::READ && !self::$first) {
            self::write();
        }
    }

    static function tooLong(int $bytes): void
    {
        Program::once('long', "$bytes bytes in one piece are more than pushd takes, " . self::$most . ': they are not sent');
    }

    /** Whether it goes. */
    static function send(int $id, string $data, int $flags = 0): bool
    {
        if (($data !== self::$same || $flags !== self::$sameFlags || self::$n === self::$room) && !self::another($data, $flags)) {
            return false;
        }
        if (Counted::$on) {
            Counted::add($id, 1, \strlen($data));
        }
        self::$ids[] = $id;
        self::$n++;
        return true;
    }

    /** From here on this is what is sent; false: it cannot be. */
    private static function another(string $data, int $flags): bool
    {
        if (Forked::refuses(self::SEND)) {
            return false;
        }
        if (self::$n) {
            self::merge();
        }
        if (\strlen($data) > self::$most) {
            self::tooLong(\strlen($data));
            return false;
        }
        self::$same = $data;
        self::$sameFlags = $flags;
        self::$room = \max(1, \min(Conns::LIST, \intdiv(self::$most - 12 - \strlen($data), 8)));
        return true;
    }

    private static function merge(): void
    {
        $ids = \pack('P*', ...self::$ids);
        if (self::$n === 1) {
            self::$out .= \pack('VCCv', \strlen(self::$same), self::SEND, self::$sameFlags, 0) . $ids . self::$same;
        } else {
            $data = \pack('V', self::$n) . $ids . self::$same;
            self::$out .= \pack('VCCvP', \strlen($data), self::MANY, self::$sameFlags, 0, 0) . $data;
        }
        self::$ids = [];
        self::$same = '';
        self::$n = self::$room = 0;
        if (\strlen(self::$out) > self::READ && !self::$first) {
            self::write();
        }
    }

    /**
     * Runs a callback, and has $first say a frame that goes before all that the
     * callback has said: when it returns, or earlier when it waits for an answer.
     */
    static function behind(callable $first, callable $callback): void
    {
        self::begin($first);
        try {
            $callback();
        } finally {
            self::first();
        }
    }

    /** From here on all that is said waits behind what $first says. */
    static function begin(callable $first): void
    {
        self::flush();
        self::$first = static function () use ($first) {
            self::$first = null;
            if (self::$n) {
                self::merge();
            }
            [$said, self::$out] = [self::$out, ''];
            $first();
            self::$out .= $said;
        };
    }

    /** It is said, if it has not been. */
    static function first(): void
    {
        if (self::$first) {
            (self::$first)();
        }
    }

    /** Runs something of which nothing is said. */
    static function unsaid(callable $f)
    {
        if (self::$n) {
            self::merge();
        }
        [$out, $first] = [self::$out, self::$first];
        self::$first = static function () { // so nothing is written meanwhile
        };
        try {
            return $f();
        } finally {
            self::$ids = [];
            self::$same = '';
            self::$n = self::$room = 0;
            [self::$out, self::$first] = [$out, $first];
        }
    }

    /** Everything said so far is with pushd when flush returns. */
    static function flush(): void
    {
        self::first();
        if (self::$n) {
            self::merge();
        }
        if (self::$out !== '') {
            self::write();
        }
    }

    /** The callback waits: what has been said before need not, unless it comes behind a frame that is not known yet. */
    static function ahead(): void
    {
        if (!self::$first) {
            self::flush();
        }
    }

    private static function write(): void
    {
        if (!self::mine()) { // what its parent has said is its parent's to write
            self::$out = '';
            return;
        }
        self::$writing = true;
        while (self::$out !== '') {
            $n = @\fwrite(self::$socket, self::$out);
            if (!$n) { // pushd's worker is gone
                self::$stopped = true;
                self::$out = '';
                exit(0);
            }
            self::$out = $n === \strlen(self::$out) ? '' : \substr(self::$out, $n);
        }
        self::$writing = false;
        if (self::$late) {
            self::$late = false;
            self::interrupt();
        }
    }

    /** pushd finds that this takes too long: the callback ends by an exception, but not within a frame. */
    static function interrupt(): void
    {
        self::$hurry = self::$stopped;
        if (!self::$busy || \getmypid() !== self::$pid) {
            return;
        }
        if (self::$writing) {
            self::$late = true;
            return;
        }
        throw new TookTooLong('this callback took too long, pushd has interrupted it');
    }

    /** Waits for more; false: pushd has closed its end. */
    static function read(): bool
    {
        $more = '';
        if (self::$at > 0) {
            self::$in = self::$at === \strlen(self::$in) ? '' : \substr(self::$in, self::$at);
            self::$at = 0;
        }
        do {
            if (self::$busy && !self::ready()) { // a callback waits: a signal has to get through
                continue;
            }
            $more = @\fread(self::$socket, self::READ);
        } while (($more === '' || $more === false) && !\feof(self::$socket));
        if ($more === '' || $more === false) {
            return false;
        }
        self::$in .= $more; // in place: a long frame comes in many pieces
        return true;
    }

    private static function ready(): bool
    {
        $read = [self::$socket];
        $none = null;
        return (bool)@\stream_select($read, $none, $none, 1);
    }

    /** Gives the frames that have come to the program, each to its callback. */
    static function dispatch(Program $program): void
    {
        while (!self::$stopped && \strlen(self::$in) - self::$at >= self::HEADER) {
            if (Parting::$waits && \ord(self::$in[self::$at + 4]) !== self::RESUME) {
                Parting::begin();
                continue; // it may have read on
            }
            $h = \unpack('Vl/Co/Cf/va/Pc', self::$in, self::$at);
            $l = $h['l'];
            $from = self::$at + self::HEADER;
            if ($from + $l > \strlen(self::$in)) {
                break;
            }
            self::$at = $from + $l;
            if ($h['o'] !== self::ANSWER) {
                self::$begun++;
            }
            if ($h['o'] === self::TAKEN || Ends::hides($h['o'], $h['c'])) {
                continue;
            }
            $id = self::$current = $h['c'];
            self::$busy = $h['o'] !== self::TICK;
            try {
                if (Fibers::$on && !\in_array($h['o'], self::MAIN, true)) {
                    self::fiber($program, $h, \substr(self::$in, $from, $l));
                } elseif ($h['o'] === self::MESSAGE) {
                    $program->message($id, \substr(self::$in, $from, $l), $h['f']);
                } elseif ($h['o'] === self::TICK) {
                    Forked::back(null, true);
                    self::$current = 0;
                    Conns::settle();
                    self::frame(self::DONE, $id);
                    self::$begun = 0;
                    self::$stopped = self::$leaving;
                } else {
                    self::event($program, $h['o'], $id, \substr(self::$in, $from, $l), $h['f'], $h['a']);
                }
                self::$busy = false;
            } catch (\Throwable $e) {
                self::failed($program, $h['o'], $id, $e);
            }
            self::$current = 0;
            Forked::back();
        }
    }

    /** A callback threw: that costs one connection, as a panic of a Go handler does. */
    private static function failed(Program $program, int $op, int $id, \Throwable $e): void
    {
        Forked::back($e);
        $cured = $program->cures($id, $e);
        self::$busy = false;
        if ($cured) {
            return;
        }
        Program::uncaught($e);
        if ($id && \in_array($op, [self::MESSAGE, self::OPEN, self::RESUME, self::FULL, self::DRAIN], true)) {
            Outbox::drop($id);
            self::end($id, 1011, 'internal error');
        }
    }

    /** Runs the callback of a frame where it may be suspended. */
    private static function fiber(Program $program, array $h, string $data): void
    {
        self::coroutine($program, $h['o'], $h['c'], static function () use ($program, $h, $data) {
            if ($h['o'] === self::MESSAGE) {
                $program->message($h['c'], $data, $h['f']);
            } else {
                self::event($program, $h['o'], $h['c'], $data, $h['f'], $h['a']);
            }
        });
    }

    /** Runs part of what such a frame is for as a coroutine of its own, where there are any. */
    static function coroutine(Program $program, int $op, int $id, callable $f): void
    {
        if (!Fibers::$on || !Fibers::room()) {
            $f();
            return;
        }
        Fibers::run($f, static function (\Throwable $e) use ($program, $op, $id) {
            self::failed($program, $op, $id, $e);
        }, \in_array($op, self::OWNED, true) ? $id : 0);
    }

    /** The rarer frames. */
    private static function event(Program $program, int $op, int $id, string $data, int $flags, int $aux): void
    {
        switch ($op) {
            case self::OPEN:
            case self::RESUME:
                self::told($id, $data, $aux);
                if ($op === self::OPEN) {
                    $program->open($id);
                } else {
                    $program->resume($id);
                }
                break;
            case self::CLOSE:
                Ends::over($program, $id, $aux);
                break;
            case self::FULL:
            case self::DRAIN:
                $program->buffer($id, $op === self::FULL);
                break;
            case self::PACKET:
                $program->packet(...\explode("\0", $data, 3));
                break;
            case self::REQUEST:
                $program->request($id, ...\explode("\0", $data, 3));
                break;
            case self::HANDSHAKE:
                $program->handshake($id, $data);
                break;
            case self::CHANNEL:
                $program->channel(...self::named($data));
                break;
            case self::ALARM:
                Numbers::alarm();
                break;
            case self::RELOAD:
                $program->reload();
                break;
            case self::CARRIED:
                Carry::take($program, $data);
                break;
            case self::LEAVING: // its clients are still there
                self::$parted = true;
                Program::end();
                $program->stop(false);
                break;
            case self::STOP:
                Fibers::finish();
                self::$leaving = true;
                Program::end();
                self::$current = 0;
                self::$parted || $program->stop(($flags & self::SUCCESSOR) !== 0);
                Queued::run(Timers::now() + Fibers::PATIENCE); // what that has queued
                Queued::lost();
                Outbox::leave();
                Conns::settle();
                if ($flags & self::SUCCESSOR) { // else nobody would have it
                    Carry::give($program->roots());
                }
        }
    }

    /** Closes a connection. A code that has more than the 16 bits of a frame is none that may be sent, whatever its lower ones are. */
    static function end(int $id, int $code = 1000, string $reason = ''): void
    {
        $code = $code & ~0xffff ? 0xffff : $code;
        if (!self::$leaving && !Forked::refuses(self::END) && !Outbox::ends($id, $code, $reason)) {
            self::endNow($id, $code, $reason);
        }
    }

    /** Closes a connection for which nothing waits here. */
    static function endNow(int $id, int $code, string $reason): void
    {
        self::frame(self::END, $id, $reason, 0, $code);
        Ends::note($id, $code);
    }

    /**
     * Takes the answer to a question out of what has come, and gives where it was;
     * the rest stays as it is. In a callback it comes behind the batch, else as one.
     */
    private static function take(int $op, int $id, &$at = 0): ?string
    {
        for ($at = self::$at; ($h = self::header($at)) !== null; $at += self::HEADER + $h['l']) {
            if ($h['o'] === $op && $h['c'] === $id) {
                $data = \substr(self::$in, $at + self::HEADER, $h['l']);
                self::$in = \substr_replace(self::$in, '', $at, self::HEADER + $h['l']);
                return $data;
            }
        }
        return null;
    }

    /** The frame at an offset, if all of it is there. */
    private static function header(int $at): ?array
    {
        if (\strlen(self::$in) - $at < self::HEADER) {
            return null;
        }
        $h = \unpack('Vl/Co/Cf/va/Pc', self::$in, $at);
        return $at + self::HEADER + $h['l'] > \strlen(self::$in) ? null : $h;
    }

    /** Whether an event waits that has been read already. */
    static function pending(): bool
    {
        return self::header(self::$at) !== null;
    }

    /** Asks pushd something and waits for the answer, an object of JSON; other events wait meanwhile. */
    static function ask(array $question, int $op = self::CALL): array
    {
        if (!Program::isReady()) {
            throw new \Exception('pushd: a question has no answer before the start is over: ask it in a timer or a callback');
        }
        self::own();
        $id = ++self::$questions;
        self::frame($op, $id, Json::of($question));
        self::flush();
        while (($answer = self::take(self::ANSWER, $id)) === null) {
            if (!self::read()) {
                exit(0);
            }
        }
        return (array)\json_decode($answer, true);
    }

    /** From here on pushd tells of each connection; those that are there are known when it returns. */
    static function askOpens(): void
    {
        self::own();
        $id = ++self::$questions;
        self::frame(self::ASK_OPENS, $id);
        self::flush();
        while (self::take(self::ANSWER, $id, $end) === null) {
            if (!self::read()) {
                exit(0);
            }
        }
        for ($at = $from = self::$at; $at < $end; $at += self::HEADER + $h['l']) {
            $h = self::header($at);
            $from = $h['o'] === self::TICK ? $at + self::HEADER : $from; // what the callback's own batch has comes in its turn
        }
        $beside = $from > self::$at; // then they are of no batch; else their place in it counts
        while ($from < $end) {
            $h = self::header($from);
            $n = self::HEADER + $h['l'];
            if ($h['o'] !== self::OPEN && $h['o'] !== self::RESUME) {
                $from += $n;
                continue;
            }
            self::told($h['c'], \substr(self::$in, $from + self::HEADER, $h['l']), $h['a']);
            if ($beside) {
                self::$in = \substr_replace(self::$in, '', $from, $n);
                $end -= $n;
            } else {
                self::$in[$from + 4] = \chr(self::TAKEN);
                $from += $n;
            }
        }
    }

    /** What OPEN and RESUME say of a connection. */
    private static function told(int $id, string $data, int $session): void
    {
        Conns::restore($id, \substr($data, 0, $session));
        Props::put($id);
        Conns::$open[$id] = Heads::put($id, $session ? \substr($data, $session) : $data);
    }

    /** Asks pushd to do what an object of its HTTP API says; with $wait the answer is the API's. */
    static function order(array $order, bool $wait = false): array
    {
        if ($wait) {
            return self::ask($order, self::ORDER);
        }
        self::frame(self::ORDER, 0, Json::of($order));
        return [];
    }

    /** A frame whose payload is a name and data. */
    static function frameNamed(int $op, int $id, string $name, string $data, int $flags = 0): void
    {
        self::frame($op, $id, \pack('v', \strlen($name)) . $name . $data, $flags);
    }

    private static function named(string $data): array
    {
        $n = \unpack('v', $data)[1];
        return [\substr($data, 2, $n), \substr($data, 2 + $n)];
    }

    /**
     * This process dies of the callback that runs: of its connection, or of nobody, as in a timer. What of the
     * batch has not begun is for the next one. What was to be said behind it, that a client is let in, is not.
     */
    static function poison(): void
    {
        self::$first = null;
        self::frame(self::POISON, self::$current, \pack('V', self::$current ? self::$begun - 1 : self::$begun));
    }

    /**
     * Says goodbye and waits until pushd has read it: a unix socket that is
     * closed with unread input takes our last words along.
     */
    static function bye(): void
    {
        self::frame(self::BYE);
        self::flush();
        \stream_set_timeout(self::$socket, 2);
        while (@\fread(self::$socket, self::READ) !== '' && !\feof(self::$socket));
    }

    /** What comes is read by the process that pushd has started alone. */
    private static function own(): void
    {
        if (!self::mine()) {
            throw new \Exception('pushd: a child of pcntl_fork() has no answer from pushd: ask before, in the parent');
        }
    }

    /** Whether this is the process that pushd has started, and not a child of it. */
    static function mine(): bool
    {
        return \getmypid() === self::$pid;
    }
}
