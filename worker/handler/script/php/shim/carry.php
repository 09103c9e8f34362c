<?php
namespace Pushd;

/**
 * Carry takes what refers to connections to the process that comes next: arrays,
 * SplObjectStorages and objects that contain some, of all Places; connections as their
 * numbers. With them go Tables and the like, what has come of packets, and heads of
 * handshakes.
 * Nothing else goes, so that new code keeps its new values; what callbacks have changed
 * beside it is named (Plain).
 */
final class Carry
{
    const DEPTH = 20; // of arrays in arrays and objects
    const SMALL = 65535; // as numbers of connections these are so rare that they are counts and indices

    /** Connections that serialize or unserialize has met. */
    public static $conns = [];

    private static $there = []; // numbers of connections that come, before pushd tells of them
    private static $seen = [];  // object id => at which depth it was looked at

    /** Hands over; what cannot be is left where it is, so that who is held there shows. */
    static function give(array $roots): void
    {
        $shared = Shared::give();
        $rest = Packets::give();
        Numbers::look();
        $out = $names = $wiring = [];
        foreach (Places::all($roots) as $place => $values) {
            foreach ($values as $name => $value) {
                if (isset(Captured::$shut[$place]) || !self::has($value) && !Wiring::isChanged((string)$place, (string)$name, $value)) {
                    continue;
                }
                if (Wiring::is((string)$place, (string)$name, $value)) {
                    $wiring[] = $value;
                } else {
                    $out[$place][$name] = $value;
                }
            }
            unset($values, $value);
        }
        if ($wiring && $wired = Wiring::objects($wiring)) {
            $out[Wiring::PLACE] = $wired;
        }
        $wiring = $wired = null;
        if ($props = Props::all()) {
            $out[Props::PLACE] = $props;
            $props = null;
        }
        $text = self::text($roots, $out);
        $names = self::named(\array_diff_key($out, [Props::PLACE => true]));
        $stay = Plain::changed($roots, $out);
        $paused = Packets::paused();
        $heads = Heads::give();
        $large = Large::give();
        if ($out || $shared || $rest || $paused || $heads || $large) {
            $ids = \array_keys(self::$conns + $rest + $large + Numbers::$found + $paused + Props::ids($out[Props::PLACE] ?? []) + Husk::ids() + Parting::left());
            Link::frame(Link::CARRY, 0, \pack('VP*', \count($ids), ...$ids) . \serialize([$text, $large + Conns::sessions($ids), $shared, $rest, $heads]));
        }
        $values = $_ = $heads = null;
        Living::are(Part::$classes) && Living::keep($out);
        self::drop($roots, $out);
        Conns::unhold(Living::clear());
        Packets::given($rest);
        Large::given($large);
        $out = $rest = $large = null;
        Numbers::look(false);
        $stranded = Conns::stranded();
        if ($n = Timers::ofCallbacks()) {
            $stranded[] = "$n timers that callbacks have set end with this process";
        }
        if ($names || $stay || $stranded) {
            \Pushd\say('pushd: carried over: ' . ($names ? \implode(', ', $names) : 'nothing')
                . ($stay ? '; not ' . \implode(', ', $stay) . ', which callbacks have changed: the new code has its own' : '')
                . ($stranded ? '; ' . \implode('; ', $stranded) : '') . "\n");
        }
    }

    /**
     * All values as one text, so that an object that is in two of them is one in the next
     * process, too. What cannot go, with what is in it, is not in out then.
     */
    private static function text(array $roots, array &$out): string
    {
        $refs = [];
        Made::stay($roots, $out);
        Wiring::leave($out);
        foreach (Refs::cut($roots, $out) as $place => $values) {
            foreach ($values as $name => $list) {
                $goes = \is_array($list) && self::goes($out, (string)$place, (string)$name);
                $value = $out[$place][$name];
                if ($goes) {
                    \array_push($refs, ...$list);
                } elseif (\is_array($list) && $place !== Props::PLACE && $part = Part::ofAll($value)) {
                    $out[$place][$name] = $part;
                    \array_push($refs, ...\array_filter($list, static function ($ref) {
                        return Part::whole($ref[0]);
                    }));
                    Stuck::over();
                } else {
                    unset($out[$place][$name]);
                    Stuck::over();
                    $place === Props::PLACE && \is_array($list) && Husk::later($name, $value, $list);
                    $shown = $place === Wiring::PLACE ? \strtok($name, "\0") : '$' . ($place === Props::PLACE ? \ltrim(\explode(' ', $name, 2)[1], Callbacks::METHOD) : $name);
                    $shown = ['$context' => 'the context of a connection', '$' . Packets::OWN => 'the protocol that a connection was given'][$shown] ?? $shown;
                    Program::once("carry $place $shown", "$shown cannot be carried over: " . (\is_array($list) ? Part::why($value) : $list));
                }
            }
        }
        self::$conns = [];
        $all = $out;
        unset($all[Props::PLACE]);
        $owners = $out ? Owners::names(Program::$serving->callbacks()) : [];
        $starts = $out ? Starts::give($roots, $all, Part::$classes) : [];
        $made = $out ? Heirs::give($out) : [];
        $apart = Parting::give(Apart::give($refs));
        $props = ($out[Props::PLACE] ?? []) + Husk::all($refs);
        foreach (\array_filter([Refs::NAME => $refs, Props::PLACE => $props, Owners::NAME => $owners, Starts::NAME => $starts, Heirs::NAME => $made, Apart::NAME => $apart, Beside::PLACE => Beside::give()]) as $name => $list) {
            $all[''][$name] = $list;
        }
        SharedArrays::separate($all);
        $text = \serialize($all);
        Part::forget();
        Own::back();
        Apart::over();
        Lists::forget();
        Refs::back();
        return $text;
    }

    /** Whether a value can go, maybe without what is each process's own and what cannot. */
    private static function goes(array &$out, string $place, string $name): bool
    {
        return Part::whole($out[$place][$name])
            || Own::cut($out) && Part::whole($out[$place][$name])
            || Apart::cut($out) && Part::whole($out[$place][$name]);
    }

    /** What the log calls them: where two have one name, by whose it is. */
    private static function named(array $out): array
    {
        $counts = \array_count_values(\array_merge([], ...\array_map('array_keys', \array_values($out))));
        $owners = Owners::names(Program::$serving->callbacks());
        $names = [];
        foreach ($out as $place => $values) {
            $place = (string)$place;
            if ($place === Wiring::PLACE) {
                \array_push($names, ...Wiring::shown(\array_keys($values)));
                continue;
            }
            $of = $place === '' ? 'the globals' : (\strncmp($place, '::', 2) === 0 ? \substr($place, 2) : $owners[$place][0] ?? "the $place");
            foreach ($values as $name => $_) {
                $names[] = $counts[$name] === 1 ? "\$$name" : (\strncmp($of, "\$$name of ", \strlen("\$$name of ")) === 0 ? $of : "\$$name of $of");
            }
        }
        return $names;
    }

    /** What has been carried is not here any more: who is held still is held elsewhere. */
    private static function drop(array $roots, array &$out): void
    {
        Own::drop();
        Props::drop($out[Props::PLACE] ?? []);
        unset($out[Props::PLACE]);
        self::$seen = $made = [];
        self::madeAtStart($out, self::DEPTH + 2, $made);
        foreach ($out as $place => &$values) {
            foreach ($values as $name => &$value) {
                try {
                    $value instanceof Part && $value->drop();
                    $value instanceof Part && $value->class !== '' || Places::put($roots, $place, $name, null);
                } catch (\Throwable $e) { // a property that may not be empty
                    self::clear($value);
                }
                $value = null;
            }
        }
        foreach ($made as $weak) {
            ($o = $weak->get()) && self::clear($o);
        }
    }

    /**
     * The objects in it that the start of the next process makes, too: they go into those, so
     * whoever has one here still, as a closure, has the one of the next process there.
     */
    private static function madeAtStart($v, int $depth, array &$made): void
    {
        if (\is_object($v)) {
            if (isset(self::$seen[$id = \spl_object_id($v)])) {
                return;
            }
            self::$seen[$id] = true;
            Made::has($v) && $made[$id] = \WeakReference::create($v);
            $v = $v instanceof Part ? $v->values : self::contents($v);
        }
        foreach ($depth > 0 && \is_array($v) ? $v : [] as $x) {
            \is_scalar($x) || self::madeAtStart($x, $depth - 1, $made);
        }
    }

    /**
     * What a value has of connections is not in it any more, where the value itself has to
     * stay: its property is readonly, or of an interface.
     */
    static function clear($v, int $depth = self::DEPTH): void
    {
        if ($depth === 0 || !self::has($v) || Conns::isOne($v) || $v instanceof Part) {
            return;
        }
        if (!\is_object($v)) {
            foreach (\is_array($v) ? $v : [] as $x) {
                self::clear($x, $depth - 1);
            }
            return;
        }
        Places::into($v, null);
        foreach (Places::properties($v) as $name => $x) {
            try {
                self::has($x) && Places::set($v, $name, \is_array($x) ? [] : null);
            } catch (\Throwable $e) {
                self::clear($x, $depth - 1);
            }
        }
    }

    /** What the process before has handed over. Who has left since then leaves the program now. */
    static function take(Program $program, string $data): void
    {
        $n = \unpack('V', $data)[1];
        $all = self::$there = $n ? \array_fill_keys(\unpack("P$n", $data, 4), true) : [];
        try {
            self::takeIn($program, $data, $n);
        } catch (\Throwable $e) { // nobody knows what of it the program has
            Program::uncaught($e);
            \Pushd\say("pushd: what the process before has handed over was not taken over: the $n connections that were in it are closed with 1012\n");
            foreach ($all as $id => $_) {
                Parting::add($id);
            }
        }
        self::$there = [];
        Places::begin();
    }

    /** @param int $n so many connections are in it */
    private static function takeIn(Program $program, string $data, int $n): void
    {
        self::$conns = [];
        [$text, $sessions, $shared, $rest, $heads] = \unserialize(\substr($data, 4 + 8 * $n)) + [2 => [], 3 => [], 4 => []];
        Heads::receive($heads);
        Shared::take($shared);
        foreach ($sessions as $id => $session) { // of those that are there pushd tells again
            Conns::restore($id, $session);
        }
        Packets::receive(\array_intersect_key($rest, self::$there));
        Places::begin();
        $all = self::values($text);
        $refs = $all[''][Refs::NAME] ?? [];
        $props = $all[''][Props::PLACE] ?? [];
        $names = $all[''][Owners::NAME] ?? [];
        $starts = $all[''][Starts::NAME] ?? [];
        $beside = $all[''][Beside::PLACE] ?? [];
        $made = $all[''][Heirs::NAME] ?? [];
        $apart = $all[''][Apart::NAME] ?? [];
        unset($all[''][Refs::NAME], $all[''][Props::PLACE], $all[''][Owners::NAME], $all[''][Starts::NAME], $all[''][Heirs::NAME], $all[''][Apart::NAME], $all[''][Beside::PLACE]);
        $all[Props::PLACE] = $props;
        $all[Beside::PLACE] = $beside;
        Lost::begin();
        Gone::out($all);
        $props = $all[Props::PLACE];
        Beside::put($all[Beside::PLACE]);
        $beside = null;
        unset($all[Props::PLACE], $all[Beside::PLACE]);
        Starts::take($starts, [$all, $props]);
        $roots = Owners::found($program->roots(), $program->callbacks(), $names);
        Starts::roots($roots);
        Heirs::receive($made);
        $wired = $all[Wiring::PLACE] ?? [];
        unset($all[Wiring::PLACE]);
        Joined::$on = (bool)Conns::$open;
        foreach ($all as $place => $values) {
            foreach ($values as $name => $value) {
                try {
                    $why = Places::put($roots, $place, $name, $value) ? '' : (isset($names[$place]) ? "nothing is in the place of {$names[$place][0]}" : 'it has no place in this code');
                } catch (\Throwable $e) {
                    $why = $e->getMessage();
                }
                $why === '' || Lost::note("\$$name", $value, $why);
                self::has($value) || Wiring::came((string)$place, (string)$name, $roots, $program->roots());
            }
        }
        Heirs::take($made, $wired, $roots, $program->roots());
        Heirs::maps($made);
        Starts::over();
        Joined::over();
        Became::everywhere($roots, $all, $props);
        Lost::settle($roots, $all, $props);
        $unmade = Unmade::out($roots, $all, $props, $starts, Refs::mend($roots, $refs, $program->roots()) + Own::without($made));
        Living::are($starts) && Living::keep([$all, $props], Places::$became + $unmade);
        Lists::settle();
        Living::clear();
        $apart && Parting::take($apart, $roots, $all);
        Props::receive($props, self::$there);
        $refs = $props = null;
        foreach (\array_diff_key(self::$conns, self::$there) as $id => $_) {
            Ends::over($program, $id, 1006);
        }
        foreach (\array_diff_key($sessions, self::$there) as $id => $_) {
            Conns::forget($id);
        }
    }

    /** Closes all who are in a value, but for what is in an object of the start that has its place: nobody knows what the program knew of them. False: nobody is. */
    static function end($v, int $depth): bool
    {
        $is = false;
        $seen = [];
        for ($now = [$v]; $now; $now = $next, $depth--) { // the nearest first, so that nothing is looked through again from nearer by
            $next = [];
            foreach ($now as $v) {
                if ($id = Conns::isOne($v) ? $v->pushdId() : self::number($v)) {
                    Parting::add($id);
                    $is = true;
                } elseif ($depth > 0 && (\is_array($v) || \is_object($v) && !isset($seen[\spl_object_id($v)]) && !Places::hasPlace($v))) {
                    \is_object($v) && $seen[\spl_object_id($v)] = $v;
                    $is = self::endIn(\is_array($v) ? $v : self::contents($v) ?? [], $next) || $is;
                }
            }
        }
        return $is;
    }

    /** Closes who is a key of a list; what is in it and may have others is next. */
    private static function endIn(array $list, array &$next): bool
    {
        $is = false;
        foreach ($list as $k => $x) {
            if ($id = self::number($k)) {
                Parting::add($id);
                $is = true;
            }
            if (\is_array($x) || \is_object($x) || self::number($x)) {
                $next[] = $x;
            }
        }
        return $is;
    }

    /** place => name => value, out of what text has made of it. */
    private static function values($text): array
    {
        if (\is_array($text)) { // each was a text of its own before
            return \array_map(static function (array $texts) {
                return \array_map('unserialize', $texts);
            }, $text);
        }
        try {
            return Gone::read($text);
        } catch (\Throwable $e) {
            \Pushd\say('pushd: nothing was taken over, and those who were in it are closed with 1012: ' . $e->getMessage() . "\n");
            foreach (self::$there as $id => $_) {
                Parting::add($id);
            }
            return [];
        }
    }

    /** Whether a value is a connection or its number, or has one. */
    static function has($v): bool
    {
        self::$seen = [];
        return self::refers($v, self::DEPTH);
    }

    private static function refers($v, int $depth): bool
    {
        if (!\is_array($v) && !\is_object($v)) {
            return self::number($v) > 0;
        }
        if (\is_array($v)) {
            return $depth > 0 && self::any($v, $depth - 1);
        }
        if (Conns::isOne($v)) {
            return true;
        }
        $id = \spl_object_id($v);
        if ($depth === 0 || (self::$seen[$id] ?? 0) >= $depth || ($inside = self::contents($v)) === null) {
            return false;
        }
        self::$seen[$id] = $depth;
        return self::any($inside, $depth - 1);
    }

    private static function any(array $list, int $depth): bool
    {
        foreach ($list as $k => $x) {
            if (self::number($k) || self::refers($x, $depth)) {
                return true;
            }
        }
        return false;
    }

    /** What an object has that may be connections, without a call of the program's code; null: that is not looked at. */
    static function contents(object $v): ?array
    {
        if ($v instanceof Connection || $v instanceof \Closure || Places::isServer($v) || $v instanceof Program || isset(Places::$owners[\spl_object_id($v)]) || Shared::has($v)) {
            return null;
        }
        if ($v instanceof \WeakMap) {
            return Weak::pairs($v);
        }
        if ($v instanceof \__PHP_Incomplete_Class) {
            return (array)$v;
        }
        $list = Lists::contents($v);
        $own = Places::ofProgram($v) ? Places::vars($v) : null;
        return $list === null || !$own ? $list ?? $own : $list + ["\0own" => $own]; // a class of the program's that is a list, and has properties
    }

    /**
     * The connection whose number, or hash (see Identity), a value is; 0: it is none.
     * They count as connections: numbers are drawn from 2^53, so nothing else is one by chance.
     */
    static function number($n): int
    {
        if (\is_string($n)) {
            if (isset($n[31])) {
                $n = Identity::number($n);
            } else {
                $n = isset($n[5]) && !isset($n[16]) && \strspn($n, '0123456789') === \strlen($n) ? (int)$n : 0;
            }
        }
        return \is_int($n) && $n > self::SMALL && (isset(Conns::$open[$n]) || isset(self::$there[$n])) ? $n : 0;
    }
}
