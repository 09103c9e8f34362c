<?php
namespace Pushd;

use Workerman\Connection\TcpConnection;

/**
 * Conns are the connections of this process. Their objects are flyweights: made
 * when a callback needs one, gone after the batch unless the program holds it.
 * What the program sets on one is in a table, is with pushd before the batch is
 * done (its session), and so outlives this process.
 */
final class Conns
{
    /** Connections that pushd has told of: id => "remote NUL local NUL target NUL head". */
    public static $open = [];
    /** The class of the objects. */
    public static $class;
    /** Whether pushd tells of each connection. */
    public static $told = false;
    /** Runs when the program has begun to hold one; null: nobody wants to know. */
    public static $onHeld;
    /** Whether the program has an onResume. */
    public static $resumes = false;

    public static $vars = [];   // id => properties: an array while in use, else the session's text
    private static $own = [];   // id => callbacks and the like, which stay in this process
    private static $turn = [];  // id => object, until the batch is over
    private static $weak = [];  // id => WeakReference of those that the program holds
    public static $held = [];   // id => true: pushd knows that only this process can find it
    private static $released = []; // id => true: an object of one that is held is gone, as with a timer that has ended
    private static $list; // what all() has made, until somebody comes or goes, or the batch is over
    private static $used = [], $dirty = [], $last = [], $gone = [];

    const SESSION = 65000; // bytes at most
    const LIST = 4000;     // numbers in one frame

    static function get(int $id)
    {
        return self::$turn[$id] ?? self::object($id);
    }

    private static function object(int $id)
    {
        $c = isset(self::$weak[$id]) ? self::$weak[$id]->get() : null;
        if ($c === null) {
            $c = new self::$class($id);
            if (isset(Ids::$of[$id])) {
                $c->id = Ids::$of[$id];
            }
        }
        return self::$turn[$id] = $c;
    }

    /** One object per connection, also of those that come out of unserialize. */
    static function adopt(int $id, $c): void
    {
        if (!isset(self::$turn[$id])) {
            self::$turn[$id] = $c;
        }
    }

    /** The objects that this batch has had; those of what could not be read are none. */
    static function turn(?array $turn = null): array
    {
        return self::$turn = $turn ?? self::$turn;
    }

    /** All connections of this process, as the program's list. */
    static function all(): array
    {
        if (!self::$told && Program::isReady()) {
            self::$told = true;
            Link::askOpens();
        }
        return self::$list ?? self::$list = self::build();
    }

    /** The list of all is not what it was, or nobody needs it. */
    private static function unlist(): void
    {
        self::$list = null;
        if (Listed::$made !== null) {
            Listed::over();
        }
    }

    private static function build(): array
    {
        foreach (Ids::$of as $id => $_) { // the others need no look
            self::get($id);
        }
        $class = self::$class;
        $all = [];
        foreach (self::$open as $id => $_) {
            $all[$id] = self::$turn[$id] ?? (isset(self::$weak[$id]) ? self::object($id) : self::$turn[$id] = new $class($id));
        }
        return self::$gone ? \array_diff_key($all, self::$gone) : $all;
    }

    /** The numbers of those that are there. */
    static function numbers(): array
    {
        return \array_keys(self::$gone ? \array_diff_key(self::$open, self::$gone) : self::$open);
    }

    /** Part of what pushd told at the start: 0 remote address, 1 local address, 2 path and query, 3 head. */
    static function told(int $id, int $part): string
    {
        return \explode("\0", self::$open[$id] ?? '', 4)[$part] ?? '';
    }

    /** The head of a handshake has been looked at: what is kept of it is the path. */
    static function slim(int $id): void
    {
        if (isset(self::$open[$id])) {
            self::$open[$id] = \implode("\0", \array_slice(\explode("\0", self::$open[$id], 4), 0, 3));
        }
    }

    /** The properties of a connection, to read or to change. */
    static function &vars(int $id): array
    {
        if (!isset(self::$vars[$id])) {
            self::$vars[$id] = [];
            self::$used[$id] = true;
        } elseif (!\is_array(self::$vars[$id])) {
            self::$last[$id] = self::$vars[$id];
            self::$vars[$id] = Session::decode(self::$vars[$id]);
            self::$used[$id] = true;
        }
        return self::$vars[$id];
    }

    static function has(int $id): bool
    {
        return isset(self::$vars[$id]);
    }

    static function dirty(int $id): void
    {
        self::$dirty[$id] = true;
    }

    /** pushd knows the connection now: what has been said of it before is said again. */
    static function again(int $id): void
    {
        foreach (self::sessions([$id]) as $text) {
            Link::frame(Link::SESSION, $id, $text);
        }
        if (isset(self::$held[$id])) {
            Link::frame(Link::HELD, $id, '', 1);
        }
    }

    /** What belongs to a connection and cannot leave this process. */
    static function &own(int $id): array
    {
        if (!isset(self::$own[$id])) {
            self::$own[$id] = [];
        }
        return self::$own[$id];
    }

    static function callback(int $id, string $name)
    {
        return self::$own[$id][$name] ?? null;
    }

    static function isOpen(int $id): bool
    {
        return !isset(self::$gone[$id]);
    }

    /** The connection is closed: its object, if the program holds it, keeps its properties. */
    static function forget(int $id): void
    {
        Outbox::drop($id);
        self::$gone[$id] = true;
        self::unlist();
    }

    /** The object of a connection that has ended, if there is one, says so. */
    static function closed(int $id): void
    {
        $c = self::$turn[$id] ?? (isset(self::$weak[$id]) ? self::$weak[$id]->get() : null);
        if ($c) {
            $c->closed();
        }
    }

    static function restore(int $id, string $session): void
    {
        unset(self::$gone[$id]);
        self::unlist();
        if ($session !== '') {
            self::$vars[$id] = $session;
            Large::restore($id, $session);
            if ($session[0] === '"' || \strpos($session, Session::OURS) !== false) {
                self::restoreOurs($id, self::vars($id));
            }
        }
    }

    /** Of what pushd's own classes have in a session. */
    private static function restoreOurs(int $id, array $vars): void
    {
        if (isset($vars[Held::KEY])) {
            Held::$ids[$id] = true;
        }
        Ids::restore($id, $vars);
        Listed::restore($id, $vars);
        Callbacks::restore($id, $vars);
        Packets::restore($id, $vars);
    }

    /** The object of a connection that only this process can find is gone. */
    static function released(int $id): void
    {
        self::$released[$id] = true;
    }

    /** The end of a batch, or of a timer: sessions go to pushd, objects that nobody holds go. */
    static function settle(): void
    {
        Ends::settle();
        Outbox::settle();
        self::unlist();
        if (self::$used || self::$dirty) {
            self::save();
        }
        if (self::$turn) {
            self::sweep();
        }
        if (self::$dirty) { // the sweep has seen an id that the program has set
            self::save();
        }
        if (self::$released) {
            $released = self::$released;
            self::$released = [];
            self::recheckAll($released);
        }
        if (self::$gone) {
            self::bury();
        }
    }

    private static function save(): void
    {
        foreach (self::$used + self::$dirty as $id => $_) {
            $vars = self::$vars[$id] ?? [];
            if (!\is_array($vars)) {
                continue;
            }
            $last = self::$last[$id] ?? '';
            $pure = true;
            if (isset(self::$dirty[$id])) {
                $text = Session::encode($vars, $pure);
                Props::note($id, !$pure || isset(self::$own[$id]) && Props::own($id));
                if ($large = \strlen($text) > self::SESSION) {
                    Program::once('session', 'a connection has more than 65,000 bytes of properties: a reload carries them, 16 MiB of all such connections, and when PHP is killed it is closed');
                    Large::note($id, true); // before what pushd has is taken away
                    $pure = false;
                    $text = '';
                }
                if ($text !== $last && !isset(self::$gone[$id])) {
                    Link::frame(Link::SESSION, $id, $text);
                    $last = $text;
                }
                if (!$large) {
                    Large::note($id, false);
                }
            }
            unset($vars);
            if (!$pure) { // something in it stays in this process
                self::$last[$id] = $last;
                continue;
            }
            unset(self::$last[$id], self::$vars[$id]);
            if ($last !== '') {
                self::$vars[$id] = $last;
            }
        }
        self::$used = self::$dirty = [];
    }

    /**
     * What the program holds it could not find again after a crash: pushd has to
     * know. A WeakMap tells which objects outlive our own references to them; PHP
     * 7.4, which has none, makes a WeakReference of each.
     */
    private static function sweep(): void
    {
        if (Weak::on()) {
            Weak::keep(self::$turn);
        }
        if (\PHP_VERSION_ID < 80000) {
            self::sweepEach();
            return;
        }
        $map = new \WeakMap();
        $named = self::named();
        foreach (self::$turn as $id => $c) {
            $map[$c] = $id;
            if ($named && $c->id !== $id) {
                Ids::note($id, $c->id);
            }
        }
        $c = null;
        $check = (self::$held ? \array_intersect_key(self::$held, self::$turn) : []) + (self::$own ? \array_intersect_key(self::$own, self::$turn) : []);
        self::$turn = [];
        if (\count($map) > 0) {
            foreach ($map as $c => $id) {
                self::$weak[$id] = \WeakReference::create($c); // one that was held before may be gone
                self::mark($id, true);
                unset($check[$id]);
            }
        }
        foreach ($check as $id => $_) {
            unset(self::$weak[$id]);
            self::mark($id, self::bound($id));
        }
    }

    /** Lets go of its own WeakReference of a connection, or with an object has one again. */
    static function watch(int $id, $c = null): void
    {
        if ($c !== null) {
            self::$weak[$id] = \WeakReference::create($c);
        } else {
            unset(self::$weak[$id]);
        }
    }

    /** Whether the objects have an id of the program's. What is the number again is seen here. */
    private static function named(): bool
    {
        foreach (\array_intersect_key(self::$turn, Ids::$of) as $id => $c) {
            Ids::note($id, $c->id);
        }
        return self::$class === TcpConnection::class;
    }

    private static function sweepEach(): void
    {
        $named = self::named();
        foreach (\array_keys(self::$turn) as $id) {
            if ($named && self::$turn[$id]->id !== $id) {
                Ids::note($id, self::$turn[$id]->id);
            }
            $w = \WeakReference::create(self::$turn[$id]); // one that was held before may be gone
            unset(self::$turn[$id]);
            $holds = $w->get() !== null;
            if ($holds) {
                self::$weak[$id] = $w;
            } else {
                unset(self::$weak[$id]);
            }
            self::mark($id, $holds || self::bound($id));
        }
    }

    private static function mark(int $id, bool $held): void
    {
        if (self::changes($id, $held)) {
            Link::frame(Link::HELD, $id, '', $held ? 1 : 0);
        }
    }

    /** Notes whether only this process can find a connection; true: pushd does not know it yet. */
    private static function changes(int $id, bool $held): bool
    {
        if ($held === isset(self::$held[$id]) || isset(self::$gone[$id])) {
            return false;
        }
        if ($held) {
            self::$held[$id] = true;
            if (self::$onHeld) {
                (self::$onHeld)();
            }
        } else {
            unset(self::$held[$id]);
        }
        return true;
    }

    private static function bury(): void
    {
        foreach (self::$gone as $id => $_) {
            $c = isset(self::$weak[$id]) ? self::$weak[$id]->get() : null;
            if ($c) {
                $c->bury(\is_array(self::$vars[$id] ?? []) ? self::$vars[$id] ?? [] : Session::decode(self::$vars[$id]), self::$open[$id] ?? '');
            }
            unset(self::$open[$id], self::$vars[$id], self::$own[$id], self::$weak[$id], self::$held[$id], self::$last[$id], Large::$of[$id], Fibers::$of[$id]);
            Props::forget($id);
            Ids::forget($id);
            Listed::forget($id);
            Weak::forget($id);
            Packets::forget($id);
        }
        self::$gone = [];
    }

    /** The sessions of these connections, as pushd has them. */
    static function sessions(array $ids): array
    {
        $texts = [];
        foreach ($ids as $id) {
            $text = \is_string(self::$vars[$id] ?? null) ? self::$vars[$id] : self::$last[$id] ?? '';
            if ($text !== '' && !isset(Large::$of[$id])) {
                $texts[$id] = $text;
            }
        }
        return $texts;
    }

    /** What is to be said of the connections that somebody still holds, now that what can be carried is; pushd closes those. */
    static function stranded(): array
    {
        \gc_collect_cycles();
        $n = $slow = $large = 0;
        foreach (self::$weak as $id => $w) {
            $n += $w->get() !== null ? 1 : 0;
        }
        self::recheckAll(self::$weak);
        foreach (self::$own + Outbox::all() + Fibers::$of + Packets::$unsaved + Numbers::$found + Props::$of + Large::$of as $id => $_) {
            if (self::bound($id) && (self::$weak[$id] ?? null) === null) {
                Outbox::waiting($id) > 0 ? $slow++ : (isset(Large::$of[$id]) ? $large++ : $n++);
            }
        }
        return \array_merge($n ? ["$n connections are in closures or objects that only this process has: they are closed with 1012"] : [],
            $slow ? ["$slow slow clients have more to be sent than pushd has room for: they are closed with 1012"] : [],
            $large ? ["$large connections have properties beyond the 16 MiB that go along of those with more than 65,000 bytes each: they are closed with 1012"] : []);
    }

    /** Their objects are held by nothing that counts. */
    static function unhold(array $ids): void
    {
        self::$weak = \array_diff_key(self::$weak, $ids);
        self::recheckAll($ids);
    }

    /** What is kept here of a connection has changed: whether that makes it one of this process. */
    static function recheck(int $id): void
    {
        self::mark($id, self::holds($id));
    }

    /** The same of many: number => anything. */
    static function recheckAll(array $ids): void
    {
        $lists = [[], []];
        foreach ($ids as $id => $_) {
            $held = self::holds($id);
            if (self::changes($id, $held)) {
                $lists[(int)$held][] = $id;
            }
        }
        foreach ($lists as $held => $list) {
            foreach (\array_chunk($list, self::LIST) as $some) {
                Link::frame(Link::HELD, 0, \pack('VP*', \count($some), ...$some), $held);
            }
        }
    }

    private static function holds(int $id): bool
    {
        return self::bound($id) || isset(self::$weak[$id]) && self::$weak[$id]->get() !== null;
    }

    /** Whether coroutines, closures of its own as callbacks, unless the program can set them again, what has come of a packet, much or an object set on it, its number in an array, or what waits for it make a connection one of this process. */
    private static function bound(int $id): bool
    {
        return isset(Fibers::$of[$id]) || isset(Packets::$unsaved[$id]) || isset(Large::$of[$id]) || isset(Numbers::$found[$id]) || isset(Props::$of[$id]) || Outbox::waiting($id) > 0 || !self::$resumes && isset(self::$own[$id]) && Callbacks::areClosures(self::$own[$id]);
    }

    /** Whether a value is, or contains, a connection of pushd's. */
    static function isOne($v): bool
    {
        return $v instanceof Connection && $v->pushdId() !== 0;
    }
}
