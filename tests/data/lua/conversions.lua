return 1
--
return 1.9, 2
--
return -1.9
--
return 1e19
--
return 0/0
--
return 'text'
--
return ''
--
return true
--
return false
--
return nil
--
return {}
--
return {1, 2.5, 'a', true, false, nil, 'lost'}
--
return {{1}, {{2}, {}}, {x = 1}}
--
return {ok = 'fine'}
--
return {ok = 'two\r\nlines'}
--
return {err = 'CODE of error'}
--
return {err = 'no code\r\nlines\r\n'}
--
return {{err = 'ERR inside'}, {ok = 'fine'}, 1}
--
return {double = 3.25}
--
return {{double = 1e300}, {double = -0.0}, {double = 1/0}, {double = -1/0}, {double = 3}}
--
return {big_number = '123456789012345678901234567890'}
--
return {big_number = 'with\r\nlines'}
--
return {verbatim_string = {format = 'txt', string = 'hello'}}
--
return {verbatim_string = {format = 'a', string = 'hello'}}
--
return {verbatim_string = {format = 'abcdef', string = 'hello'}}
--
return {verbatim_string = {string = 'hello'}}
--
return {map = {a = 1}}
--
return {map = {[1] = {map = {x = {1, 2}}}}}
--
return {set = {a = true}}
--
return {set = {1}}
--
return {map = {}, set = {}}
--
return {ok = 1}
--
return {err = 1}
--
return {map = 5}
--
return print
--
return string.find
--
return function() end
--
return coroutine.create(function() end)
--
return cjson.null
--
return setmetatable({1, 2}, {__index = function() error('no') end})
--
return setmetatable({}, {__index = function(t, k) return 'x' end})
--
return _G
--
return redis
--
redis.setresp(3) return {true, false, nil}
--
redis.setresp(3) return {true, false}
--
redis.setresp(3) return true
--
redis.setresp(3) return false
--
redis.setresp(3) return nil
--
redis.setresp(2) return true
--
redis.call('hset', KEYS[1], 'f', 'v') redis.setresp(3) return redis.call('hgetall', KEYS[1])
--
redis.call('hset', KEYS[1], 'f', 'v') return redis.call('hgetall', KEYS[1])
--
redis.call('hset', KEYS[1], 'f', 'v') redis.setresp(3) local r = redis.call('hgetall', KEYS[1]) return r.map.f
--
redis.call('sadd', KEYS[1], 'a') redis.setresp(3) return redis.call('smembers', KEYS[1])
--
redis.call('sadd', KEYS[1], 'a') redis.setresp(3) return redis.call('smembers', KEYS[1]).set.a
--
redis.call('zadd', KEYS[1], 1.5, 'a') redis.setresp(3) return redis.call('zscore', KEYS[1], 'a')
--
redis.call('zadd', KEYS[1], 1.5, 'a') redis.setresp(3) return redis.call('zscore', KEYS[1], 'a').double * 2
--
redis.call('zadd', KEYS[1], 1.5, 'a') return redis.call('zscore', KEYS[1], 'a')
--
redis.setresp(3) return redis.call('zscore', KEYS[1], 'a')
--
redis.setresp(3) return type(redis.call('get', KEYS[1]))
--
return type(redis.call('get', KEYS[1]))
--
return redis.call('get', KEYS[1])
--
return {redis.call('get', KEYS[1]), redis.call('set', KEYS[1], 5), redis.call('incr', KEYS[1])}
--
return redis.call('set', KEYS[1], 5).ok
--
redis.call('rpush', KEYS[1], 'a', 'b', '') return redis.call('lrange', KEYS[1], 0, -1)
--
redis.call('rpush', KEYS[1], 'a') return #redis.call('lrange', KEYS[1], 0, -1)
--
redis.setresp(3) return redis.call('debug', 'protocol', 'double')
--
redis.setresp(3) return redis.call('debug', 'protocol', 'bignum')
--
redis.setresp(3) return redis.call('debug', 'protocol', 'bignum').big_number
--
redis.setresp(3) return redis.call('debug', 'protocol', 'verbatim')
--
redis.setresp(3) return redis.call('debug', 'protocol', 'verbatim').verbatim_string.string
--
redis.setresp(3) return redis.call('debug', 'protocol', 'true')
--
redis.setresp(3) return redis.call('debug', 'protocol', 'false')
--
redis.setresp(3) return redis.call('debug', 'protocol', 'null')
--
redis.setresp(3) return redis.call('debug', 'protocol', 'map')
--
redis.setresp(3) return redis.call('debug', 'protocol', 'set')
--
redis.setresp(3) return redis.call('debug', 'protocol', 'attrib')
--
return redis.call('debug', 'protocol', 'array')
--
return redis.call('debug', 'protocol', 'double')
--
return redis.call('debug', 'protocol', 'null')
--
return KEYS
--
return ARGV
--
return {#KEYS, #ARGV, KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]}
--
KEYS[1] = 'changed' ARGV = nil return KEYS
--
KEYS.x = 1 return KEYS.x
--
local t = {} t[1] = t return #t
--
return {[1] = 1, [2] = 2, [4] = 4}
--
return redis.call('set', KEYS[1], 1.5)
--
redis.call('set', KEYS[1], 0.1) return redis.call('get', KEYS[1])
--
redis.call('set', KEYS[1], 12345678901234567) return redis.call('get', KEYS[1])
--
redis.call('set', KEYS[1], 1e15) return redis.call('get', KEYS[1])
--
redis.call('set', KEYS[1], 2^53) return redis.call('get', KEYS[1])
--
redis.call('set', KEYS[1], 1e17) return redis.call('get', KEYS[1])
--
redis.call('set', KEYS[1], -0) return redis.call('get', KEYS[1])
--
redis.call('set', KEYS[1], 1/0) return redis.call('get', KEYS[1])
--
redis.call('set', KEYS[1], 0/0) return redis.call('get', KEYS[1])
--
redis.call('set', KEYS[1], 'a\0b\r\nc') return {redis.call('get', KEYS[1]), redis.call('strlen', KEYS[1])}
--
redis.call('sElEcT', 0) return redis.call('pInG')
--
return {redis.call('ping'), redis.call('ping', 'x')}
--
return redis.sha1hex('abc')
--
return redis.sha1hex('')
--
return redis.sha1hex(12)
--
return redis.sha1hex(nil)
--
return {redis.LOG_DEBUG, redis.LOG_VERBOSE, redis.LOG_NOTICE, redis.LOG_WARNING}
--
return {redis.REPL_NONE, redis.REPL_AOF, redis.REPL_SLAVE, redis.REPL_REPLICA, redis.REPL_ALL}
--
return {redis.REDIS_VERSION, redis.REDIS_VERSION_NUM}
--
return {redis.replicate_commands(), redis.breakpoint(), redis.debug('x'), redis.set_repl(redis.REPL_ALL)}
--
return redis.log(redis.LOG_DEBUG, 'x')
--
return redis.acl_check_cmd('set', 'x', 'y')
--
return redis.status_reply('fine')
--
return redis.error_reply('My Err')
--
return redis.error_reply('MyErr')
--
return redis.error_reply('-MYERR text')
--
return redis.error_reply('')
--
return redis.error_reply('-')
--
return redis.error_reply('A  two blanks')
--
return redis.error_reply('ERR line\r\nline\r\n')
--
return redis.status_reply('')
--
return redis.status_reply('a\0b')
--
return redis.error_reply('ERR a\0b')
--
local r = {} for k, v in pairs(redis.error_reply('X y')) do r[#r + 1] = k r[#r + 1] = v end return r
--
local r = redis.pcall('incrby', KEYS[1], 'x') return {r.err, tostring(r.ignore_error_stats_update)}
--
local r = redis.pcall('incrby', KEYS[1], 'x') return r
--
return {redis.pcall('incrby', KEYS[1], 'x')}
--
local t = {} for i = 1, 300 do t[i] = i end return t
--
local t = {} for i = 1, 50 do t = {t} end return t
--
local t = {} for i = 1, 7000 do t[i] = 'k' .. i end return redis.call('del', unpack(t))
--
local t = {} for i = 1, 7990 do t[i] = i end return redis.call('del', unpack(t))
--
local t = {} for i = 1, 8001 do t[i] = i end return redis.call('del', unpack(t))
--
local t = {} for i = 1, 7999 do t[i] = 1 end return redis.call('lpush', KEYS[1], unpack(t))
--
local t = {} for i = 1, 7999 do t[i] = 1 end return redis.call('lpush', KEYS[1], unpack(t, 1))
--
local t = {} for i = 1, 7900 do t[i] = 'element' .. i end return redis.call('lpush', KEYS[1], unpack(t, 1, 7900))
--
local t = {} for i = 1, 7999 do t[i] = 's' .. i end return redis.call('rpush', KEYS[1], unpack(t))
--
local t = {} for i = 1, 7999 do t[i] = i + 0.5 end redis.call('rpush', KEYS[1], unpack(t)) local r = redis.call('lrange', KEYS[1], 0, -1) return {#r, r[1], r[7999]}
--
local r = {} for _, n in ipairs({-0, 0 * -1, 1e15, 2^53, 2^53 + 2, -2^53 - 2, 1e17, 2^63, -2^63, 1e300, 5e-324, 1/0, -1/0, 0/0, -(0/0), 0.1, 1e20, 123456789012}) do r[#r + 1] = redis.call('echo', n) end return r
--
local f = coroutine.wrap(function() redis.call('set', KEYS[1], 'v') coroutine.yield(redis.call('get', KEYS[1])) return redis.call('incr', KEYS[1]) end) return {f(), pcall(f)}
--
local ok, e = pcall(pcall, redis.call, 'nope') return {tostring(ok), tostring(e)}
--
local e = redis.pcall('incr', KEYS[1], 'x') local k = {} for n in pairs(e) do k[#k + 1] = n end table.sort(k) return k
--
redis.call('set', KEYS[1], 'x') local e = redis.pcall('incr', KEYS[1]) local k = {} for n, v in pairs(e) do k[#k + 1] = n .. tostring(v) end table.sort(k) return k
--
return {pcall(redis.call, 'set', KEYS[1], {})}
--
return redis.pcall('set', KEYS[1], function() end)
--
return redis.call('set', KEYS[1], coroutine.create(function() end))
