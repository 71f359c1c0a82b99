return cjson.encode({1, 2, 3})
--
return cjson.encode({a = 1})
--
return cjson.encode({})
--
return cjson.encode({{}, {1}, {x = {}}})
--
return cjson.encode('quo"te \\ / \b\f\n\r\t \1 \127 \200')
--
return cjson.encode(cjson.null)
--
return cjson.encode({cjson.null, true, false})
--
return cjson.encode(nil)
--
return cjson.encode({1, 2, nil, 4})
--
return cjson.encode({[1] = 1, [3] = 3})
--
return {pcall(cjson.encode, {[1] = 1, [100] = 3})}
--
cjson.encode({[1] = 1, [100] = 3})
--
cjson.encode_sparse_array(true) return cjson.encode({[1] = 1, [100] = 3})
--
return {cjson.encode_sparse_array(true, 3, 20)}
--
return {pcall(cjson.encode_sparse_array, 'x')}
--
return {pcall(cjson.encode_sparse_array, true, -1)}
--
return {pcall(cjson.encode_sparse_array, true, 1, 2, 3)}
--
return {cjson.encode(1), cjson.encode(1.5), cjson.encode(1e100), cjson.encode(-0.0), cjson.encode(0.1), cjson.encode(1/3), cjson.encode(1e14), cjson.encode(1e15), cjson.encode(123456789012345678)}
--
return {pcall(cjson.encode, 1/0)}
--
return {pcall(cjson.encode, 0/0)}
--
return {pcall(cjson.encode, {a = 0/0})}
--
cjson.encode_invalid_numbers(true) return {cjson.encode(1/0), cjson.encode(-1/0), cjson.encode(0/0)}
--
cjson.encode_invalid_numbers('null') return {cjson.encode(1/0), cjson.encode(0/0)}
--
return {cjson.encode_invalid_numbers(), cjson.encode_invalid_numbers('on'), cjson.encode_invalid_numbers('null'), cjson.encode_invalid_numbers(false)}
--
return {pcall(cjson.encode_invalid_numbers, 'x')}
--
return {cjson.encode_number_precision(), cjson.encode_number_precision(3), cjson.encode(1/3)}
--
return {pcall(cjson.encode_number_precision, 15)}
--
return {cjson.encode_keep_buffer(), cjson.encode_keep_buffer(false), cjson.encode_keep_buffer('on')}
--
return {cjson.encode_max_depth(), cjson.encode_max_depth(2), pcall(cjson.encode, {{{}}})}
--
return {cjson.decode_max_depth(), cjson.decode_max_depth(2), pcall(cjson.decode, '[[[]]]')}
--
local t = {} for i = 1, 1000 do t = {t} end return {pcall(cjson.encode, t)}
--
local t = {} for i = 1, 999 do t = {t} end return #cjson.encode(t)
--
local t = {} t[1] = t return {pcall(cjson.encode, t)}
--
cjson.encode_max_depth(3000) local t = {} t[1] = t return {pcall(cjson.encode, t)}
--
return {pcall(cjson.decode, string.rep('[', 1001))}
--
return {pcall(cjson.decode, string.rep('[', 1000) .. string.rep(']', 1000))} ~= nil
--
cjson.decode_max_depth(3000) return {pcall(cjson.decode, string.rep('[', 9000))}
--
cjson.decode_max_depth(3000) return {pcall(cjson.decode, string.rep('{"a":', 9000))}
--
return {pcall(cjson.encode, print)}
--
return {pcall(cjson.encode, function() end)}
--
return {pcall(cjson.encode, {[true] = 1})}
--
return {pcall(cjson.encode, {[{}] = 1})}
--
return {pcall(cjson.encode, coroutine.create(function() end))}
--
return {pcall(cjson.encode)}
--
return {pcall(cjson.encode, 1, 2)}
--
return cjson.encode({[1.5] = 'x'})
--
return cjson.encode({['1'] = 'x'})
--
return cjson.encode({[-1] = 'x'})
--
return cjson.encode({[0] = 'x'})
--
return cjson.encode({[2147483648] = 'x'})
--
return {pcall(cjson.encode, {[2147483647] = 'x'})}
--
return cjson.decode('[1, 2.5, "a", true, false, null]')
--
return cjson.decode('{"a": {"b": [1, {"c": "d"}]}}').a.b[2].c
--
return {cjson.decode('1'), cjson.decode('-1.5e3'), cjson.decode('"x"'), tostring(cjson.decode('true'))}
--
return cjson.decode('null') == cjson.null
--
return {cjson.decode('"\\u0041\\u00e9\\u20ac\\ud83d\\ude00"'), cjson.decode('"\\"\\\\\\/\\b\\f\\n\\r\\t"')}
--
return {tostring(cjson.decode('0x1F')), tostring(cjson.decode('Infinity')), tostring(cjson.decode('-inf')), tostring(cjson.decode('NaN')), tostring(cjson.decode('+5')), tostring(cjson.decode('01'))}
--
cjson.decode_invalid_numbers(false) return {pcall(cjson.decode, '0x1F')}
--
cjson.decode_invalid_numbers(false) return {pcall(cjson.decode, '01')}
--
cjson.decode_invalid_numbers(false) return {pcall(cjson.decode, '-inf')}
--
cjson.decode_invalid_numbers(false) return {pcall(cjson.decode, 'nan')}
--
return {cjson.decode_invalid_numbers(), cjson.decode_invalid_numbers(false), cjson.decode('0'), cjson.decode('-0.5')}
--
return {pcall(cjson.decode, '')}
--
return {pcall(cjson.decode, '[1,]')}
--
return {pcall(cjson.decode, '[1 2]')}
--
return {pcall(cjson.decode, '{"a" 1}')}
--
return {pcall(cjson.decode, '{a: 1}')}
--
return {pcall(cjson.decode, '{"a": 1,}')}
--
return {pcall(cjson.decode, '{"a": 1')}
--
return {pcall(cjson.decode, '[1')}
--
return {pcall(cjson.decode, '"unfinished')}
--
return {pcall(cjson.decode, '"bad \\x escape"')}
--
return {pcall(cjson.decode, '"\\u12"')}
--
return {pcall(cjson.decode, '"\\ud800"')}
--
return {pcall(cjson.decode, '"\\udc00"')}
--
return {pcall(cjson.decode, '"\\ud800\\u0041"')}
--
return {pcall(cjson.decode, 'tru')}
--
return {pcall(cjson.decode, 'nul')}
--
return {pcall(cjson.decode, '@')}
--
return {pcall(cjson.decode, '1 2')}
--
return {pcall(cjson.decode, '-')}
--
return {pcall(cjson.decode, '- 1')}
--
return {pcall(cjson.decode, '.5')}
--
return {cjson.decode('5.'), cjson.decode('1e5'), pcall(cjson.decode, '1e')}
--
return {pcall(cjson.decode, '\0a')}
--
return {pcall(cjson.decode, 'a\0')}
--
return {pcall(cjson.decode, '[1]\0x')}
--
return {pcall(cjson.decode, '"a\0b"')}
--
return {pcall(cjson.decode)}
--
return {pcall(cjson.decode, {})}
--
return {pcall(cjson.decode, 5)}
--
return {pcall(cjson.decode, '1', 2)}
--
return cjson.decode(' \t\r\n[ 1 , 2 ] ')
--
return #cjson.decode('[null, null]')
--
return cjson.decode('{"a":1,"a":2}').a
--
return cjson.decode('{"":1}')['']
--
return {cjson._NAME, cjson._VERSION}
--
local c = cjson.new() c.encode_number_precision(3) return {c.encode(1/3), cjson.encode(1/3)}
--
return cjson.encode(cjson.decode('{"k":[1,2,{"x":null}],"s":"\\u00e9"}'))
--
return cjson.encode({field = 'value', list = {1, 2, 3}, nested = {a = {b = {c = 1}}}})
--
return cmsgpack.pack(1, -1, 1.5, 'x', true, false, nil)
--
return {cmsgpack.unpack(cmsgpack.pack(1, -1, 'x', {1, 2, {3}}))}
--
local r = {} for _, n in ipairs({0, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, 2^53, -1, -32, -33, -128, -129, -32768, -32769, -2147483648, -2147483649, -2^53, 0.5, 1e100, 1/0, -1/0, 2^63, -2^63, 2^64}) do r[#r + 1] = cmsgpack.pack(n) end return r
--
local r = {} for _, n in ipairs({0, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, 2^53, -1, -32, -33, -128, -129, -32768, -32769, -2147483648, -2147483649, -2^53, 0.5, 1e100, 1/0, -1/0, 2^63, -2^63, 2^64}) do r[#r + 1] = tostring(cmsgpack.unpack(cmsgpack.pack(n))) end return r
--
return cmsgpack.pack(0/0)
--
local r = {} for _, n in ipairs({0, 31, 32, 255, 256, 65535, 65536}) do r[#r + 1] = cmsgpack.pack(string.rep('x', n)):sub(1, 6) end return r
--
local r = {} for _, n in ipairs({0, 15, 16, 300}) do local t = {} for i = 1, n do t[i] = i end r[#r + 1] = cmsgpack.pack(t):sub(1, 4) end return r
--
local r = {} for _, n in ipairs({1, 15, 16, 300}) do local t = {} for i = 1, n do t['k' .. i] = i end r[#r + 1] = cmsgpack.pack(t):sub(1, 4) end return r
--
return {cmsgpack.pack({}), cmsgpack.pack({a = 1}), cmsgpack.pack({1, 2, nil, 4}), cmsgpack.pack({[1] = 1, [3] = 3}), cmsgpack.pack({[0] = 1}), cmsgpack.pack({[1.5] = 1})}
--
local t = {} t[1] = t return cmsgpack.pack(t)
--
return cmsgpack.pack(print == nil, function() end, cjson.null)
--
return {pcall(cmsgpack.pack)}
--
return {cmsgpack.unpack_one(cmsgpack.pack(1, 2, 3))}
--
return {cmsgpack.unpack_one(cmsgpack.pack(1, 2, 3), 1)}
--
return {cmsgpack.unpack_one(cmsgpack.pack(1))}
--
return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2)}
--
return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2, 1)}
--
return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 0, 1)}
--
return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 0)}
--
return {pcall(cmsgpack.unpack_limit, 'x')}
--
return {pcall(cmsgpack.unpack_limit, 'x', -1)}
--
return {pcall(cmsgpack.unpack_one, 'x', -1)}
--
return {pcall(cmsgpack.unpack_one, 'x', 5)}
--
return {pcall(cmsgpack.unpack_one, 'x', 1)}
--
return {cmsgpack.unpack('')}
--
return {pcall(cmsgpack.unpack)}
--
return {pcall(cmsgpack.unpack, '\193')}
--
return {pcall(cmsgpack.unpack, '\217')}
--
return {pcall(cmsgpack.unpack, '\217\5abc')}
--
return {pcall(cmsgpack.unpack, '\220\255\255')}
--
return {pcall(cmsgpack.unpack, '\221\255\255\255\255\1')}
--
return {pcall(cmsgpack.unpack, '\223\255\255\255\255\1')}
--
return {pcall(cmsgpack.unpack, '\129\192\1')}
--
return {pcall(cmsgpack.unpack, '\129\203\127\248\0\0\0\0\0\0\1')}
--
return {pcall(cmsgpack.unpack, string.rep('\145', 9000))}
--
return {pcall(cmsgpack.unpack, string.rep('\129', 9000))}
--
return {pcall(cmsgpack.unpack, string.rep('\129\1', 9000))}
--
return {pcall(cmsgpack.unpack, string.rep('\1', 9000))}
--
return {tostring(cmsgpack.unpack('\207\255\255\255\255\255\255\255\255')), tostring(cmsgpack.unpack('\211\255\255\255\255\255\255\255\255')), cmsgpack.unpack('\202\63\128\0\0'), cmsgpack.unpack('\208\255'), cmsgpack.unpack('\209\255\254'), cmsgpack.unpack('\210\255\255\255\253')}
--
return {cmsgpack._NAME, cmsgpack._VERSION, cmsgpack._COPYRIGHT, cmsgpack._DESCRIPTION}
--
return {struct.pack('i4', 1), struct.pack('>i4', 1), struct.pack('<h', -2), struct.pack('bBhHlLTf d', 1, 2, 3, 4, 5, 6, 7, 8.5, 9.5)}
--
return {struct.unpack('i4', struct.pack('i4', -5))}
--
return {struct.unpack('>I2>i2', struct.pack('>I2>i2', 65535, -1))}
--
return {struct.pack('s', 'abc'), struct.pack('c2', 'abc'), struct.pack('c0', 'abc'), struct.pack('x', 1)}
--
return {struct.unpack('s', 'abc\0def')}
--
return {struct.unpack('bc0', '\3abcdef')}
--
return {struct.unpack('c3', 'abcdef', 2)}
--
return {pcall(struct.unpack, 'c3', 'ab')}
--
return {pcall(struct.unpack, 's', 'abc')}
--
return {pcall(struct.unpack, 'c0', 'abc')}
--
return {pcall(struct.unpack, 'i4', 'abc')}
--
return {pcall(struct.unpack, 'i4', 'abcdef', 0)}
--
return {pcall(struct.unpack, 'i4', 'abcdef', -1)}
--
return {pcall(struct.unpack, 'i4', 'abcdef', 4)}
--
return {pcall(struct.pack, 'i33', 1)}
--
return {pcall(struct.pack, 'i99999999999', 1)}
--
return {pcall(struct.pack, 'z', 1)}
--
return {pcall(struct.pack, 'i', 'x')}
--
return {pcall(struct.pack, 'i')}
--
return {pcall(struct.pack, 'c5', 'abc')}
--
return {pcall(struct.pack)}
--
return {pcall(struct.pack, '!3i', 1)}
--
return {struct.pack('!4bi', 1, 2), struct.pack('!bd', 1, 2), struct.pack('!8bi3', 1, 2)}
--
return {struct.size('i4'), struct.size('!8bd'), struct.size('bhlc5x'), struct.size('z')}
--
return {pcall(struct.size, 's')}
--
return {pcall(struct.size, 'c0')}
--
return {pcall(struct.size, '?')}
--
return {struct.pack('i16', -1), struct.pack('>i16', 5), struct.unpack('i16', struct.pack('i16', 5)), struct.unpack('i8', struct.pack('i8', -5))}
--
return {struct.unpack('f', struct.pack('f', 1.5)), struct.unpack('>d', struct.pack('>d', -2.25))}
--
return {struct.unpack('bxh', 'a\0bc')}
--
return {bit.band(12, 10), bit.bor(12, 10), bit.bxor(12, 10), bit.bnot(0), bit.lshift(1, 4), bit.rshift(-1, 28), bit.arshift(-8, 2), bit.rol(1, 31), bit.ror(1, 1), bit.bswap(1)}
--
return {bit.tohex(255), bit.tohex(255, 4), bit.tohex(255, -4), bit.tohex(-1), bit.tohex(1, 0), bit.tohex(1, 20)}
--
return {bit.tobit(4294967295), bit.tobit(2^31), bit.tobit(1.5), bit.tobit(2.5), bit.tobit(-1.5), bit.tobit('5')}
--
return {bit.band(1, 2, 4), bit.bor(1, 2, 4), bit.lshift(1, 33), bit.band(255)}
--
return {pcall(bit.band)}
--
return {pcall(bit.band, 'x')}
--
return {pcall(bit.band, 1, {})}
--
return {pcall(bit.lshift, 1)}
--
return {pcall(bit.tohex)}
--
bit.band({})
