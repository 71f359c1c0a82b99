return {('hello world'):find('wor')}
--
return {('hello world'):find('o', 6)}
--
return {('hello world'):find('o', -3)}
--
return {('hello'):find('')}
--
return {('hello'):find('', 10)}
--
return {('hello'):find('l+')}
--
return {('hello'):find('(l)(l)')}
--
return {('a.b'):find('.', 1, true), ('a.b'):find('.', 2, true)}
--
return {('a+b'):find('+', 1, true)}
--
return {('hello'):find('xyz') == nil}
--
return {('key=value'):match('(%w+)=(%w+)')}
--
return {('  trim  '):match('^%s*(.-)%s*$')}
--
return {('hello'):match('()ll()')}
--
return {('hello'):match('.-'), ('hello'):match('.*'), ('hello'):match('^(h)(.*)(o)$')}
--
return {('[[nested [brackets] here]]'):match('%b[]')}
--
return {('THE (quick) fox'):find('%((%a+)%)')}
--
return {('THE (quick) fox'):gsub('%f[%a]%a+', string.lower)}
--
return {('hello world'):gsub('o', '0')}
--
return {('hello world'):gsub('o', '0', 1)}
--
return {('hello world'):gsub('', '-')}
--
return {('hello'):gsub('l*', 'x')}
--
return {('hello world'):gsub('(%w+)', '<%1>')}
--
return {('hello world'):gsub('%w+', '%0 %0', 1)}
--
return {('$name is $age'):gsub('%$(%w+)', {name = 'x', age = 5})}
--
return {('$name is $age'):gsub('%$(%w+)', function(k) if k == 'age' then return nil end return k:upper() end)}
--
return {('abc'):gsub('%w', function(c) return false end)}
--
return {pcall(string.gsub, 'abc', '%w', function(c) return {} end)}
--
return {pcall(string.gsub, 'abc', '%w', function(c) error('inside') end)}
--
return {pcall(string.gsub, 'abc', '%w', function(c) error({err = 'CODE t'}) end)}
--
return {('abc'):gsub('%w', function(c) return redis.call('echo', c .. c) end)}
--
('abc'):gsub('%w', function(c) redis.call('incrby', KEYS[1], 'x') end)
--
return {('abc'):gsub('b', '%%')}
--
return {pcall(string.gsub, 'abc', 'b', '%2')}
--
return {('abc'):gsub('b', '%1')}
--
return {('abc'):gsub('b', '%x')}
--
return {('abc'):gsub('b', '%')}
--
return {('abc'):gsub('^a', 'x'), ('aaa'):gsub('^a', 'x')}
--
return {('abc abc'):gsub('%s+', '')}
--
local r = {} for w in ('one two three'):gmatch('%a+') do r[#r + 1] = w end return r
--
local r = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do r[#r + 1] = k r[#r + 1] = v end return r
--
local r = {} for p in ('abc'):gmatch('()') do r[#r + 1] = p end return r
--
local r = {} for p in ('a,b,,c'):gmatch('([^,]*)') do r[#r + 1] = p end return r
--
return {pcall(string.gmatch)}
--
return {pcall(string.gmatch, 'x')}
--
for w in ('x'):gmatch('%') do end
--
for w in ('x'):gmatch('[a') do end
--
return {pcall(string.find, 'a', '[a')}
--
return {pcall(string.find, 'a', '[]')}
--
return {pcall(string.find, 'a', '[^]')}
--
return {(']'):find('[]]')}
--
return {('^'):find('[%^]'), ('-'):find('[a-]'), ('b'):find('[a-c]'), ('-'):find('[%a-z]')}
--
return {pcall(string.find, 'a', '%')}
--
return {pcall(string.find, 'a', '(')}
--
return {pcall(string.find, 'a', ')')}
--
return {pcall(string.find, 'a', '(()')}
--
return {pcall(string.find, 'a', '%1')}
--
return {pcall(string.find, 'aa', '(a)%1')}
--
return {pcall(string.find, 'aa', '(a%1)')}
--
return {pcall(string.find, 'aa', '()%1')}
--
return {pcall(string.find, 'a', '%b')}
--
return {pcall(string.find, 'a', '%bx')}
--
return {pcall(string.find, 'a', '%f')}
--
return {pcall(string.find, 'a', string.rep('()', 33))}
--
return {('a'):find(string.rep('()', 32))}
--
return {pcall(string.match, 'abc', '(a)(')}
--
return {pcall(string.match, 'abc', '(a')}
--
return {pcall(string.find)}
--
return {pcall(string.find, 'a')}
--
return {pcall(string.find, {}, 'a')}
--
string.find()
--
('x'):find()
--
('x'):rep()
--
return {pcall(string.find, 'a', 'b', 'c')}
--
return {string.find(123, 2)}
--
return {('a\0b'):find('b'), ('a\0b'):find('\0'), ('a\0b'):find('%z')}
--
return {('a\0b'):find('a\0x')}
--
return {('a\0b'):find('a\0x', 1, true)}
--
return {('aXb'):find('%u'), ('a b'):find('%s'), ('a.b'):find('%p'), ('ab1'):find('%d'), ('\1'):find('%c'), ('g1'):find('%x')}
--
return {('aXb'):find('%U'), ('a b'):find('%S'), ('a.b'):find('%P'), ('ab1'):find('%D')}
--
return {('abc'):find('b', nil, true)}
--
return {('x^y'):find('x^y'), ('^x'):find('^^x'), ('x$y'):find('x$y'), ('x$'):find('x$$')}
--
return {('aaa'):find('a-', 2), ('aaa'):find('a-b'), ('aaab'):find('a-b')}
--
return {('aaa'):match('a?a?a?a?'), ('aaa'):match('(a*)(a?)'), ('aaab'):match('(a+)b')}
--
return {('x = 5'):match('^(%w+)%s*=%s*(%d+)$')}
--
return {('2024-01-31'):match('(%d+)-(%d+)-(%d+)')}
--
return {string.format('%5.2f|%d|%s|%q|%x|%X|%o|%c|%e|%g|%i|%u|%%', 3.14159, 42, 'str', 'q"uo\n', 255, 255, 8, 65, 12345.678, 0.0001, 7, 8)}
--
return {string.format('%-10s|%10s|%05d|%+d', 'ab', 'cd', 42, 5)}
--
return {pcall(string.format, '%d', 'x')}
--
return {pcall(string.format, '%y', 1)}
--
return {pcall(string.format, '%s')}
--
return {string.format('%s %s %s', nil, true, 1.5)}
--
return {pcall(string.format, '%123d', 1)}
--
return {string.format('%.20s', 'short'), string.format('%.3s', 'longer')}
--
return {string.rep('ab', 3), string.rep('', 1000000), string.rep('x', 0), string.rep('x', -1)}
--
return {pcall(string.rep, 'x')}
--
return {('hello'):sub(2, 3), ('hello'):sub(-3), ('hello'):sub(0), ('hello'):sub(10), ('hello'):sub(3, 2)}
--
return {('hello'):upper(), ('HeLLo'):lower(), ('abc'):reverse(), ('abc'):len(), #'abc'}
--
return {('abc'):byte(1, -1)}
--
return string.char(104, 105)
--
return {pcall(string.gfind, 'a', 'b')}
--
local t = {5, 2, 8, 1} table.sort(t) return t
--
local t = {5, 2, 8, 1} table.sort(t, function(a, b) return a > b end) return t
--
local t = {'b', 'a', 'c', 'B', ''} table.sort(t) return t
--
local t = {} for i = 1, 100 do t[i] = (i * 7919) % 101 end table.sort(t) return t
--
local t = {} for i = 1, 50 do t[i] = {(i * 31) % 17, i} end table.sort(t, function(a, b) return a[1] < b[1] end) local r = {} for i, v in ipairs(t) do r[i] = v[2] end return r
--
return {pcall(table.sort, {1, 'a', 2})}
--
table.sort({1, 'a', 2})
--
return {pcall(table.sort, {{}, {}})}
--
local t = {} for i = 1, 20 do t[i] = i end return {pcall(table.sort, t, function(a, b) return true end)}
--
local t = {} for i = 1, 20 do t[i] = i end table.sort(t, function(a, b) return true end)
--
local n = 0 local t = {3, 1, 2, 9, 4, 7} table.sort(t, function(a, b) n = n + 1 return a < b end) return n
--
local mt = {__lt = function(a, b) return a.v < b.v end} local t = {} for i = 1, 9 do t[i] = setmetatable({v = (i * 5) % 9}, mt) end table.sort(t) local r = {} for i, v in ipairs(t) do r[i] = v.v end return r
--
return {pcall(table.sort, {3, 1}, 5)}
--
return {pcall(table.sort)}
--
return {pcall(table.sort, {3, 1, 2}, function(a, b) error('inside') end)}
--
local t = {3, 1, nil, 2} table.sort(t) return t
--
local t = {} table.insert(t, 'a') table.insert(t, 1, 'b') table.insert(t, 'c') return t
--
local t = {1, 2, 3} table.insert(t, 2, 'x') return t
--
local t = {1} table.insert(t, 5, 'x') return {t[1], tostring(t[2]), t[5]}
--
local t = {1, 2} table.insert(t, 0, 'x') return {t[0], t[1], t[2], t[3]}
--
local t = {1, 2} table.insert(t, -2, 'x') return {t[-2], tostring(t[-1]), tostring(t[0]), t[1], t[2], t[3]}
--
return {pcall(table.insert)}
--
return {pcall(table.insert, {})}
--
return {pcall(table.insert, {}, 1, 2, 3)}
--
return {pcall(table.insert, {}, 'x', 2)}
--
return {pcall(table.insert, nil, 1)}
--
table.insert(nil, 1)
--
local t = {1, 2, 3} return {table.remove(t), table.remove(t, 1), #t, tostring(table.remove({}))}
--
return {table.concat({1, 2, 'x'}, ', '), table.concat({}, 'x'), table.concat({1, 2, 3}, '-', 2, 3)}
--
return {pcall(table.concat, {1, {}, 3})}
--
return {pcall(table.concat, {1, 2}, '', 1, 5)}
--
return {table.maxn({1, 2, [10] = 3}), table.getn({1, 2})}
--
return {pcall(table.setn, {}, 1)}
--
local r = {} table.foreach({a = 1}, function(k, v) r[1] = k r[2] = v end) return r
--
local r = {} table.foreachi({5, 6}, function(i, v) r[i] = v end) return r
--
local r = {} for i, v in ipairs({1, 2, nil, 4}) do r[i] = v end return r
--
local r = {} for k, v in pairs({10, 20, 30, x = 1}) do r[#r + 1] = tostring(k) end return r
--
local t = {a = 1, b = 2, c = 3, d = 4} local r = {} for k in pairs(t) do r[#r + 1] = k end return r
--
local t = {} for i = 1, 40 do t['field' .. i] = i end local r = {} for k in pairs(t) do r[#r + 1] = k end return r
