<?php
namespace Pushd;

/** SwooleIdle closes clients of TCP that have sent nothing for heartbeat_idle_time; those of WebSocket are pinged by pushd. */
final class SwooleIdle
{
    private $limits;        // port number => seconds
    private $heard = [];    // number of a connection => [port number, when, in seconds of Timers::now()]

    /** Those that a server asks for; null: none. */
    static function of(\Swoole\Server $server, array $ports): ?self
    {
        $all = (int)($server->setting['heartbeat_idle_time'] ?? 0) ?: 2 * (int)($server->setting['heartbeat_check_interval'] ?? 0);
        $limits = [];
        foreach ($ports as $i => $p) {
            $limit = (int)($p->setting['heartbeat_idle_time'] ?? 0) ?: $all;
            if ($p->pushdSpeaks === 'tcp' && $limit > 0) {
                $limits[$i] = $limit;
            }
        }
        return $limits ? new self($limits, (int)($server->setting['heartbeat_check_interval'] ?? 0)) : null;
    }

    private function __construct(array $limits, int $every)
    {
        $this->limits = $limits;
        $shortest = \max(1, \intdiv(\min($limits), 2));
        Timers::add($every > 0 ? \min($every, $shortest) : $shortest, [$this, 'look'], [], true);
    }

    public function look(): void
    {
        $now = Timers::now();
        foreach ($this->heard as $id => [$port, $at]) {
            if ($now - $at >= $this->limits[$port]) {
                unset($this->heard[$id]);
                Link::end($id);
            }
        }
    }

    /** A client of that port has come, or has sent something. */
    public function hears(int $id, int $port): void
    {
        if (isset($this->limits[$port])) {
            $this->heard[$id] = [$port, Timers::now()];
        }
    }

    public function forget(int $id): void
    {
        unset($this->heard[$id]);
    }
}
