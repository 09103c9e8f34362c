<?php
namespace Pushd;

/** SwooleSettings are the keys of set(): those that do something here, and what is said of the others. */
final class SwooleSettings
{
    const WORKS = ['daemonize', 'pid_file', 'log_file', 'max_conn', 'max_connection', 'enable_coroutine', 'max_coroutine', 'max_coro_num', 'task_enable_coroutine', 'task_use_object', 'task_object',
        'open_tcp_nodelay', 'reload_async', 'socket_buffer_size', 'open_websocket_protocol', 'websocket_subprotocol', 'open_http_protocol', 'open_mqtt_protocol',
        'open_eof_check', 'open_eof_split', 'package_eof', 'open_length_check', 'package_length_type', 'package_length_offset', 'package_body_offset', 'package_body_start',
        'package_length_func', 'package_max_length', 'http_parse_post', 'http_parse_cookie', 'http_parse_files', 'upload_tmp_dir',
        'enable_static_handler', 'document_root', 'static_handler_locations', 'http_index_files'];

    const ONE = 'one PHP process serves all connections', SOCKETS = 'the sockets are pushd\'s', LOGS = 'the log is pushd\'s', PINGS = 'pushd pings clients of WebSocket: ping_interval',
        TLS = 'it needs SWOOLE_SOCK_TCP | SWOOLE_SSL', PONGS = 'pushd answers pings', MOST = 'memory and max_messages of [[worker]]', USER = 'user and group of [[worker]]';

    /** Key => why it does nothing, or what there is instead; of a key of Swoole's that is not here nothing is to be said. */
    const WHY = [
        'worker_num' => self::ONE, 'reactor_num' => self::ONE, 'task_worker_num' => self::ONE, 'dispatch_mode' => self::ONE, 'dispatch_func' => self::ONE, 'open_cpu_affinity' => self::ONE,
        'backlog' => self::SOCKETS, 'enable_reuse_port' => self::SOCKETS, 'tcp_fastopen' => self::SOCKETS, 'tcp_defer_accept' => self::SOCKETS, 'open_tcp_keepalive' => self::SOCKETS,
        'log_level' => self::LOGS, 'log_rotation' => self::LOGS, 'log_date_format' => self::LOGS,
        'max_request' => self::MOST, 'max_request_grace' => self::MOST, 'task_max_request' => self::MOST, 'user' => self::USER, 'group' => self::USER,
        'heartbeat_check_interval' => self::PINGS, 'heartbeat_idle_time' => self::PINGS, 'open_websocket_ping_frame' => self::PONGS, 'open_websocket_pong_frame' => self::PONGS,
        'open_websocket_close_frame' => 'on("close") has all ends', 'websocket_compression' => 'compression of [[worker]]', 'buffer_output_size' => 'limits.max_queue of [[worker]]',
        'hook_flags' => 'calls of PHP that wait hold up the process, but for sleep() and usleep()',
        'ssl_cert_file' => self::TLS, 'ssl_key_file' => self::TLS, 'ssl_verify_peer' => self::TLS, 'ssl_client_cert_file' => self::TLS,
    ];

    /** What the ports' set() ask for and do not get, in one line; '' where they get all. */
    static function idle(array $ports, bool $tls): string
    {
        $idle = [];
        foreach ($ports as $p) {
            foreach ($p->setting as $name => $value) {
                $why = self::why((string)$name, $value, $tls, $p->pushdSpeaks === 'tcp');
                if ($why !== null) {
                    $idle[$why][$name] = $name;
                }
            }
        }
        foreach ($idle as $why => $names) {
            $idle[$why] = \implode(', ', $names) . ($why === '' ? '' : " ($why)");
        }
        return \implode('; ', $idle);
    }

    /** Why a key does nothing, '' where there is no more to say; null: it does something, or there is nothing to do. */
    private static function why(string $name, $value, bool $tls, bool $bytes): ?string
    {
        if (!$value) {
            return null;
        }
        if ($name === 'log_file') {
            return ROLE !== 'handler' || Output::isDaemon() ? null : 'has what is printed only with start -d';
        }
        if (\in_array($name, self::WORKS, true)) {
            return null;
        }
        $why = self::WHY[$name] ?? null;
        if ($why === self::ONE && \is_scalar($value) && (int)$value === 1 || $why === self::PINGS && $bytes || $why === self::TLS && $tls) {
            return null;
        }
        return $why ?? (self::known($name) ? '' : 'not known');
    }

    private static function known(string $name): bool
    {
        return \in_array($name, (new \ReflectionClass(\Swoole\Constant::class))->getConstants(), true);
    }
}
