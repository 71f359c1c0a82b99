return redis.call('incrby', KEYS[1], 'x')
--
redis.call('incrby', KEYS[1], 'x')
--
redis.call('set', KEYS[1], 'a') return redis.call('incr', KEYS[1])
--
redis.call('set', KEYS[1], 'a') redis.call('lpush', KEYS[1], 'x')
--

local function f()
  return redis.call('incrby', KEYS[1], 'x')
end
return f()
--

local function f()
  local r = redis.call('incrby', KEYS[1], 'x')
  return r
end
f()
--
return redis.call()
--
return redis.pcall()
--
return redis.call({})
--
return redis.call('set', {}, 1)
--
return redis.call('set', KEYS[1], nil)
--
return redis.call('set', KEYS[1], true)
--
return redis.pcall('set', KEYS[1], true)
--
return redis.pcall('set', KEYS[1], function() end)
--
error('text')
--
error('text', 0)
--
error('text', 2)
--
error({err = 'CODE own table'})
--
error({err = 'CODE own table', source = 'x', line = 5})
--
error(redis.error_reply('CODE from reply'))
--
error(12)
--
error(nil)
--
error()
--
error(true)
--
local x = nil return x.y
--
local x = nil x.y = 1
--
return nil .. 'a'
--
return 1 + {}
--
return {} < {}
--
return {} < 1
--
return #5
--
nothing()
--
local t = {} t.f()
--
('x'):nope()
--
return x
--
x = 1
--
redis = nil
--
redis.call = nil
--
redis.x = 1
--
string.format = nil
--
KEYS = {} return 1
--
return rawget(_G, 'x')
--
rawset(_G, 'x', 1)
--
rawset(redis, 'call', 1)
--
setmetatable(_G, {})
--
setmetatable(redis, {})
--
getmetatable(_G).__index = function() end
--
getmetatable(_G).x = 1
--
return type(getmetatable(_G))
--
return type(getmetatable(_G).__index)
--
return getmetatable(redis)
--
return type(getmetatable('').__index)
--
return getmetatable('').__index == string
--
table.insert(redis, 1)
--
table.insert(string, 'x', 1)
--
cjson.encode = nil
--
cmsgpack.x = 1
--
bit.x = 1
--
struct.x = 1
--
math.random = nil
--
coroutine.x = 1
--
return print('x')
--
return loadfile('x')
--
return dofile('x')
--
return require('x')
--
return io
--
return os
--
return debug
--
return package
--
return module
--
return _G[{}]
--
return _G[5]
--
_G[5] = 1
--
return _VERSION
--
local r = {} for k in pairs(_G) do r[#r + 1] = tostring(k) end table.sort(r) return table.concat(r, ' ')
--
local r = {} for k in pairs(redis) do r[#r + 1] = tostring(k) end table.sort(r) return r
--
local r = {} for k in pairs(string) do r[#r + 1] = tostring(k) end table.sort(r) return r
--
local r = {} for k in pairs(math) do r[#r + 1] = tostring(k) end table.sort(r) return r
--
local r = {} for k in pairs(table) do r[#r + 1] = tostring(k) end table.sort(r) return r
--
local r = {} for k in pairs(coroutine) do r[#r + 1] = tostring(k) end table.sort(r) return r
--
local r = {} for k in pairs(cjson) do r[#r + 1] = tostring(k) end table.sort(r) return r
--
local r = {} for k in pairs(cmsgpack) do r[#r + 1] = tostring(k) end table.sort(r) return r
--
local r = {} for k in pairs(struct) do r[#r + 1] = tostring(k) end table.sort(r) return r
--
local r = {} for k in pairs(bit) do r[#r + 1] = tostring(k) end table.sort(r) return r
--
return next(string) ~= nil
--
return select('#', pcall(error))
--
return {pcall(error, 'x')}
--
return {tostring(pcall(error, {err = 'from table'})), select(2, pcall(error, {err = 'from table'}))}
--
local ok, e = pcall(error, {other = 'x'}) return e.other
--
local ok, e = pcall(function() return redis.call('incrby', KEYS[1], 'x') end) return {tostring(ok), e}
--
local ok, e = pcall(redis.call, 'incrby', KEYS[1], 'x') return {tostring(ok), e}
--
local ok, e = pcall(function() error('x') end) return {tostring(ok), e}
--
local ok, e = pcall(function() return undefined_thing end) return {tostring(ok), e}
--
local ok, e = pcall(function() local a = nil; a.b = 1 end) return {tostring(ok), e}
--
local ok, e = pcall(string.rep) return {tostring(ok), e}
--
local ok, e = pcall(string.rep, {}) return {tostring(ok), e}
--
local ok, e = xpcall(function() error('x') end, function(m) return 'handled ' .. m end) return {tostring(ok), e}
--
local ok, e = xpcall(function() redis.call('incrby', KEYS[1], 'x') end, function(m) return m.err end) return {tostring(ok), e}
--
local ok, e = xpcall(function() redis.call('incrby', KEYS[1], 'x') end, function(m) error('again') end) return {tostring(ok), tostring(e)}
--
return {xpcall(function() return 1, 2 end, error)}
--
return {pcall(pcall)}
--
return {pcall(xpcall, 1)}
--
local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) error('inside') end)
local _, x = coroutine.resume(co, 1)
local ok, e = coroutine.resume(co, 2)
return {x, tostring(ok), e, coroutine.status(co)}
--
local co = coroutine.create(function() redis.call('incrby', KEYS[1], 'x') end)
local ok, e = coroutine.resume(co) return {tostring(ok), e.err}
--
local co = coroutine.create(function() return redis.call('incr', KEYS[1]) end)
return {coroutine.resume(co)}
--
local f = coroutine.wrap(function() coroutine.yield(1) error('inside') end) f() f()
--
local f = coroutine.wrap(function() error({err = 'CODE inside'}) end) f()
--
local f = coroutine.wrap(function() return 1 end) f() f()
--
return {coroutine.resume(coroutine.create(function() end), 1)}
--
coroutine.yield(1)
--
coroutine.resume(1)
--
coroutine.wrap(1)
--
coroutine.create(1)
--
coroutine.create(string.rep)
--
return {pcall(coroutine.yield, 1)}
--
local co co = coroutine.create(function() return coroutine.resume(co) end) return {coroutine.resume(co)}
--
return {loadstring('return 1 +')}
--
return loadstring('return 1 + 1')()
--
return loadstring('return KEYS[1]')()
--
return loadstring('x = 1')()
--
return {loadstring('syntax error here', 'name')}
--
return {loadstring('syntax error here', '=name')}
--
return {loadstring('syntax error here', '@name')}
--
return {loadstring('\27Lua')}
--
return {loadstring('\27Lua', '=x')}
--
return {loadstring(string.dump(function() return 1 end))} == nil
--
return loadstring(5)
--
return {pcall(loadstring)}
--
return {pcall(loadstring, {})}
--
local n = 0 return load(function() n = n + 1 return ({'return ', '5'})[n] end)()
--
return {pcall(function() return select(2, load(function() error('x') end)) end)}
--
local n = 0 return select(2, load(function() n = n + 1 return ({'x', ' ='})[n] end))
--
return {pcall(load)}
--
return {pcall(load, 'x')}
--
return {pcall(setmetatable, 1, {})}
--
return {pcall(setmetatable, {}, 1)}
--
return {pcall(setmetatable, {})}
--
return {pcall(setmetatable, setmetatable({}, {__metatable = 1}), {})}
--
return getmetatable(setmetatable({}, {__metatable = 'hidden'}))
--
local mt = {} return getmetatable(setmetatable({}, mt)) == mt
--
return {pcall(rawset, {}, nil, 1)}
--
return {pcall(rawset, {}, 0/0, 1)}
--
return {pcall(rawget)}
--
return {pcall(rawset, {}, 1)}
--
return {pcall(next, {}, 'x')}
--
return {pcall(next, 5)}
--
return {pcall(pairs)}
--
return {pcall(pairs, nil)}
--
for k in pairs(nil) do end
--
for k in ipairs(nil) do end
--
local t = setmetatable({}, {__newindex = function(t, k, v) rawset(t, k, v * 2) end}) t.a = 2 return t.a
--
local t = setmetatable({}, {__tostring = function() return 'mine' end}) return tostring(t)
--
return tostring(setmetatable({}, {__tostring = function() return 5 end}))
--
return collectgarbage('count') > 0
--
return {pcall(collectgarbage, 'x')}
--
return collectgarbage('collect')
--
return gcinfo() > 0
--
return {select('#', 1, nil, nil), select(2, 'a', 'b', 'c'), (select(-1, 'a', 'b'))}
--
return {pcall(select, 0)}
--
return {tonumber('0x10'), tonumber('z', 36), tonumber('1e2'), tonumber(' 5 '), tostring(tonumber('5x'))}
--
return {tostring(1e15), tostring(1e14), tostring(0.1), tostring(-0.0), tostring(1/0), tostring(2^63)}
--
return {10 / 3, tostring(10 / 3), 10 % 3, -10 % 3, 2 ^ 10}
--
return {1 < 2, 'a' < 'b', 'a' .. 1 .. 2}
--
return {'10' + 5, '3' * '4'}
--
return unpack({1, 2, 3}, 2)
--
return {unpack({1, 2, 3}, 2)}
--
return {unpack({1, 2, 3}, 2, 5)}
--
return {pcall(unpack, {}, 1, 1e8)}
--
return {pcall(unpack, {}, -2147483648, 2147483647)}
--
return {assert(1, 2)}
--
assert(false)
--
assert(false, 'message')
--
assert(nil, {err = 'CODE table'})
--
return {pcall(redis.log)}
--
return {pcall(redis.log, 'x', 'y')}
--
return {pcall(redis.log, 10, 'y')}
--
return {pcall(redis.log, -1, 'y')}
--
return {pcall(redis.setresp)}
--
return {pcall(redis.setresp, 4)}
--
return {pcall(redis.setresp, 'x')}
--
redis.setresp(1)
--
return {pcall(redis.sha1hex)}
--
redis.sha1hex()
--
return redis.error_reply()
--
return redis.error_reply(1)
--
return redis.status_reply({})
--
return {pcall(redis.set_repl)}
--
return {pcall(redis.set_repl, 8)}
--
redis.set_repl(8)
--
return redis.acl_check_cmd('nope')
--
return redis.acl_check_cmd()
--
return redis.acl_check_cmd({})
--
return redis.acl_check_cmd('set', 'a', 'b')
--
redis.register_function('a', function() end)
--
return (function(...) return select('#', ...) end)(nil, nil)
--
return {pcall(string.char, 256)}
--
local function f(n) return f(n + 1) + 1 end return f(1)
--
local function f() return pcall(f) end return f()
--
local function f() f() end local ok, e = pcall(f) return e:sub(1, 40)
--
local t = setmetatable({}, {__index = function(t, k) return t[k] end}) local ok, e = pcall(function() return t.x end) return e
--
local s = string.rep('(', 300) .. '1' .. string.rep(')', 300) local f, e = loadstring('return ' .. s) return e
--
return 1 +
--
if then
--
return 'unfinished
--
goto x
--
for i = 1, 2 do return i end
--
local a <const> = 1
--
return 5 // 2
--
# comment
--
-- only a comment
--
;
--
return 1;
--
return 1 return 2
--
break
--
local t = {n = 0} function t:add(x) self.n = self.n + x return self end return t:add(1):add(2).n
--
return math.type
--
return {math.floor(1.5), math.max(1, 3, 2), math.huge > 1, math.fmod(5, 3), math.pow(2, 3), math.mod(5, 3)}
--
math.randomseed(5) local a = math.random() math.randomseed(5) return a == math.random()
--
math.randomseed(1) return {tostring(math.random()), math.random(10), math.random(5, 9), math.random(1000000)}
--
math.randomseed(0) return {tostring(math.random()), math.random(2147483647)}
--
math.randomseed(-7) return {tostring(math.random()), math.random(2147483647), math.random(-5, 5)}
--
return {pcall(math.random, 0)}
--
return {pcall(math.random, 2, 1)}
--
return {pcall(math.random, 1, 2, 3)}
--
return {pcall(math.random, 'x')}
--
return __redis__err__handler('x').err
--
return getfenv
--
return setfenv
--
return newproxy
--
return é
--
return $
