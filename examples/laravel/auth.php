<?php
// The auth endpoint without Laravel: what Broadcast::routes() answers, in plain
// PHP. Try it with `php -S 127.0.0.1:8000 examples/laravel/auth.php`.
declare(strict_types=1);

/** What lets a connection into a private channel, or a presence channel as $user. */
function authorize(string $key, string $secret, string $socketId, string $channel, ?array $user = null): array
{
    $text = "$socketId:$channel";
    $answer = [];
    if ($user !== null) {
        $answer['channel_data'] = json_encode($user, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES);
        $text .= ':' . $answer['channel_data'];
    }
    return ['auth' => "$key:" . hash_hmac('sha256', $text, $secret)] + $answer;
}

/** The user of the request: your session knows. This demo believes the header. */
function currentUser(): ?array
{
    $id = $_SERVER['HTTP_X_USER'] ?? '';
    return $id === '' ? null : ['user_id' => $id, 'user_info' => ['name' => "User $id"]];
}

/** Private channels end in the user's id; everyone may enter a room. */
function mayEnter(string $channel, array $user): bool
{
    return $channel === "private-App.Models.User.{$user['user_id']}" || str_starts_with($channel, 'presence-room.');
}

$user = currentUser();
$channel = (string) ($_POST['channel_name'] ?? '');
$socketId = (string) ($_POST['socket_id'] ?? '');
if ($user === null || !preg_match('/\A\d+\.\d+\z/', $socketId) || !mayEnter($channel, $user)) {
    http_response_code(403);
    exit;
}
header('Content-Type: application/json');
echo json_encode(authorize(
    getenv('PUSHER_APP_KEY') ?: 'my-key',
    getenv('PUSHER_APP_SECRET') ?: 'my-secret',
    $socketId,
    $channel,
    str_starts_with($channel, 'presence-') ? $user : null,
), JSON_THROW_ON_ERROR);
