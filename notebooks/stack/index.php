<?php
// Writes one visit to MySQL and one to Redis, and says how many each has.
$mysql = new mysqli('mysql', 'root', 'root');
$mysql->query('CREATE DATABASE IF NOT EXISTS shop');
$mysql->query('CREATE TABLE IF NOT EXISTS shop.visits (id INT AUTO_INCREMENT PRIMARY KEY, at TIMESTAMP)');
$mysql->query('INSERT INTO shop.visits () VALUES ()');
$stored = (int) $mysql->query('SELECT COUNT(*) FROM shop.visits')->fetch_row()[0];
$redis = new Redis();
$redis->connect('redis', 6379);
$counted = $redis->incr('visits');
header('Content-Type: application/json');
echo json_encode(['mysql' => $stored, 'redis' => $counted, 'server' => $_SERVER['SERVER_SOFTWARE']]);
