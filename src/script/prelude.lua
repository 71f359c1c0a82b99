-- What stands between a script and the interpreter: the globals that it sees, and who calls it.
--
-- Lua 5.1 has no read-only tables. A script gets empty tables ("faces") in place of the real ones:
-- reading goes on to the real table, writing raises Redis' error. Whatever could reach around that
-- (rawset, next, setmetatable, table.insert ...) is replaced here or in Rust and knows the faces.
-- Nothing below reads a global, so that no environment can change what it does.
--
-- Errors of functions in Rust arrive as userdata. Who catches errors here turns them into what Lua
-- expects (`caught`), so that no script ever sees one; once the script has to end, `caught` raises.

local native = ...

local boot = getfenv(1)
local c_collectgarbage, error, c_getmetatable = collectgarbage, error, getmetatable
local c_loadstring, c_next, c_pcall, rawequal = loadstring, next, pcall, rawequal
local c_rawget, c_rawset, select, c_setfenv = rawget, rawset, select, setfenv
local c_setmetatable, tonumber, tostring, type = setmetatable, tonumber, tostring, type
local c_unpack, c_xpcall = unpack, xpcall
local c_create, c_resume = coroutine.create, coroutine.resume
local c_insert, c_sort, c_getn, c_concat = table.insert, table.sort, table.getn, table.concat
local c_byte, floor = string.byte, math.floor
local caught_value, caught = native.caught_value, native.caught

local STACK_SLOTS_MAX = 8000
local READONLY = "Attempt to modify a readonly table"

-- Faces: the real table of each, and the metatable that a script is shown.
local real_of, shown_of = {}, {}

local function refuse()
  error(READONLY, 2)
end

local function face(real, shown)
  local new = {}
  real_of[new] = real
  shown_of[new] = shown
  return c_setmetatable(new, { __index = real, __newindex = refuse })
end

local function missing(_, name)
  if type(name) ~= "string" and type(name) ~= "number" then
    error("Second argument to luaProtectedTableError must be a string or number", 2)
  end
  error("Script attempted to access nonexistent global variable '" .. name .. "'", 2)
end

-- A table whose absent fields are an error, as the globals are.
local function strict(real)
  return c_setmetatable(real, { __index = missing })
end
local STRICT_SHOWN = face({ __index = missing })

-- The environments: of EVAL, of functions, and of a library while it is loaded. The last two are
-- one face, because the functions of a library keep the environment that they were made in.
local eval_real, function_real, load_real = {}, {}, {}
local eval_face = face(eval_real, STRICT_SHOWN)
local function_face = {}
local function_globals = face(strict(function_real), STRICT_SHOWN)
local function_switch = { __index = function_real, __newindex = refuse }
real_of[function_face] = function_real
shown_of[function_face] = face({ __index = function_globals })
c_setmetatable(function_face, function_switch)
strict(eval_real)
strict(load_real)
local environment = eval_face

-- From here on nothing knows the first globals any more.
c_setfenv(1, eval_face)
c_setfenv(0, eval_face)

local function own(name, new)
  eval_real[name] = new
  function_real[name] = new
end

-- Raises Lua's error for a wrong argument of the function that calls this.
local bad = native.bad_argument

-- The type of the first of the rest of the arguments, as Lua names it in errors.
local function got(...)
  if select("#", ...) == 0 then
    return "no value"
  end
  return type((...))
end

for _, name in c_next, { "tostring", "assert", "tonumber", "rawequal", "type", "select",
  "ipairs", "_VERSION", "error", "gcinfo" } do
  eval_real[name] = boot[name]
  function_real[name] = boot[name]
end

-- Tables.

local function next_(t, key)
  local real = real_of[t]
  if real then
    t = real
  elseif type(t) ~= "table" then
    bad("next", 1, "table expected, got " .. type(t))
  end
  return c_next(t, key)
end
own("next", next_)

own("pairs", function(...)
  local t = ...
  if type(t) ~= "table" then
    bad("pairs", 1, "table expected, got " .. got(...))
  end
  if real_of[t] then
    return next_, t, nil
  end
  return c_next, t, nil
end)

own("rawget", function(...)
  local t, key = ...
  if type(t) ~= "table" then
    bad("rawget", 1, "table expected, got " .. got(...))
  elseif select("#", ...) < 2 then
    bad("rawget", 2, "value expected")
  end
  return c_rawget(real_of[t] or t, key)
end)

own("rawset", function(...)
  local t, key, value = ...
  if type(t) ~= "table" then
    bad("rawset", 1, "table expected, got " .. got(...))
  elseif select("#", ...) < 3 then
    bad("rawset", select("#", ...) + 1, "value expected")
  elseif real_of[t] then
    error(READONLY, 0)
  elseif key == nil then
    error("table index is nil", 0)
  elseif key ~= key then
    error("table index is NaN", 0)
  end
  return c_rawset(t, key, value)
end)

own("getmetatable", function(...)
  if select("#", ...) == 0 then
    bad("getmetatable", 1, "value expected")
  end
  local value = ...
  if real_of[value] then
    return shown_of[value]
  end
  return c_getmetatable(value)
end)

own("setmetatable", function(...)
  local t, meta = ...
  if type(t) ~= "table" then
    bad("setmetatable", 1, "table expected, got " .. got(...))
  elseif type(meta) ~= "table" and (meta ~= nil or select("#", ...) < 2) then
    bad("setmetatable", 2, "nil or table expected")
  elseif real_of[t] then
    error(READONLY, 0)
  end
  if c_getmetatable(t) ~= nil and not c_pcall(c_setmetatable, t, meta) then
    error("cannot change a protected metatable", 2)
  end
  return c_setmetatable(t, meta)
end)

-- Lua itself computes the number of results in 32 bits, and believes what it gets.
own("unpack", function(...)
  local t, first, last = ...
  if type(t) ~= "table" then
    bad("unpack", 1, "table expected, got " .. got(...))
  end
  local from, to = tonumber(first == nil and 1 or first), tonumber(last == nil and c_getn(t) or last)
  if not from then
    bad("unpack", 2, "number expected, got " .. type(first))
  elseif not to then
    bad("unpack", 3, "number expected, got " .. type(last))
  end
  -- The stack of a function in C has room for its arguments and the results.
  local count = native.integer(to) - native.integer(from) + 1
  if count + select("#", ...) > STACK_SLOTS_MAX then
    error("too many results to unpack", 2)
  end
  return c_unpack(...)
end)

-- Errors.

local function after_pcall(ok, ...)
  if ok then
    return true, ...
  end
  -- As Redis' pcall: of an error table only the text.
  local failure = caught((...))
  if type(failure) == "table" then
    local text = failure.err
    if type(text) == "string" or type(text) == "number" then
      failure = text
    end
  end
  return false, failure
end

local function pcall_(...)
  if select("#", ...) == 0 then
    return false, "attempt to call a boolean value"
  end
  return after_pcall(c_pcall(...))
end
own("pcall", pcall_)

local function after_caught(ok, ...)
  if ok then
    return true, ...
  end
  return false, caught((...))
end

own("xpcall", function(...)
  if select("#", ...) < 2 then
    bad("xpcall", 2, "value expected")
  end
  local call, handler = ...
  return after_caught(c_xpcall(call, function(failure)
    local value, is_over = caught_value(failure)
    if is_over then
      return failure
    end
    return handler(value)
  end))
end)

-- Coroutines.

local coroutine_ = {}
for name, value in c_next, boot.coroutine do
  coroutine_[name] = value
end

coroutine_.resume = function(...)
  if type((...)) ~= "thread" then
    bad("resume", 1, "coroutine expected")
  end
  return after_caught(c_resume(...))
end

local function after_wrapped(ok, ...)
  if ok then
    return ...
  end
  local failure = caught((...))
  if type(failure) == "string" or type(failure) == "number" then
    error(failure, 3)
  end
  error(failure, 0)
end

coroutine_.wrap = function(body)
  if type(body) ~= "function" or native.is_native(body) then
    bad("wrap", 1, "Lua function expected")
  end
  local thread = c_create(body)
  return function(...)
    return after_wrapped(c_resume(thread, ...))
  end
end

-- Code.

-- Code that was compiled elsewhere can do anything to the interpreter. Behind a blank the compiler
-- takes it for text.
local function as_text(piece)
  if c_byte(piece) == 27 then
    return " " .. piece
  end
  return piece
end

-- The collector rests while Lua compiles: its compiler does not hold on to all that it works with.
local function compile(text, name)
  c_collectgarbage("stop")
  local new, failure = c_loadstring(as_text(text), name)
  c_collectgarbage("restart")
  native.has_compiled()
  if not new then
    return nil, caught(failure)
  end
  return c_setfenv(new, environment)
end

own("loadstring", function(...)
  local text, name = ...
  if type(text) ~= "string" and type(text) ~= "number" then
    bad("loadstring", 1, "string expected, got " .. got(...))
  elseif name ~= nil and type(name) ~= "string" and type(name) ~= "number" then
    bad("loadstring", 2, "string expected, got " .. type(name))
  end
  text = tostring(text)
  return compile(text, name == nil and text or tostring(name))
end)

-- The whole text first, so that no code of the script runs while Lua compiles.
local function read_all(read)
  local pieces = {}
  while true do
    local piece = read()
    if piece == nil or piece == "" then
      return c_concat(pieces)
    elseif type(piece) ~= "string" and type(piece) ~= "number" then
      error("reader function must return a string", 0)
    end
    pieces[#pieces + 1] = tostring(piece)
  end
end

own("load", function(...)
  local read, name = ...
  if type(read) ~= "function" then
    bad("load", 1, "function expected, got " .. got(...))
  elseif name ~= nil and type(name) ~= "string" and type(name) ~= "number" then
    bad("load", 2, "string expected, got " .. type(name))
  end
  local ok, text = c_pcall(read_all, read)
  if not ok then
    return nil, caught(text)
  end
  return compile(text, name == nil and "=(load)" or tostring(name))
end)

-- What would hold beyond the run is accepted and does nothing.
local GC_OPTIONS = { collect = true, count = true, step = true, stop = false, restart = false,
  setpause = false, setstepmul = false }
own("collectgarbage", function(option, number)
  option = option or "collect"
  if GC_OPTIONS[option] == nil then
    if type(option) ~= "string" then
      bad("collectgarbage", 1, "string expected, got " .. type(option))
    end
    bad("collectgarbage", 1, "invalid option '" .. option .. "'")
  elseif GC_OPTIONS[option] then
    return c_collectgarbage(option, tonumber(number))
  end
  return 0
end)

-- table: what takes longer than its arguments let expect, done where it can be interrupted.

local table_ = {}
for name, value in c_next, boot.table do
  table_[name] = value
end

table_.insert = function(t, ...)
  local count = select("#", ...)
  if type(t) ~= "table" then
    bad("insert", 1, "table expected, got "
      .. (t == nil and count == 0 and "no value" or type(t)))
  end
  local position, value = ...
  if count == 2 then
    position = tonumber(position)
    if not position then
      bad("insert", 2, "number expected, got " .. type((...)))
    end
  elseif count ~= 1 then
    error("wrong number of arguments to 'insert'", 2)
  end
  if real_of[t] then
    error(READONLY, 0)
  elseif count == 1 then
    return c_insert(t, (...))
  elseif position >= 1 then
    return c_insert(t, position, value)
  end
  position = native.integer(position)
  for index = c_getn(t) + 1, position + 1, -1 do
    c_rawset(t, index, c_rawget(t, index - 1))
  end
  c_rawset(t, position, value)
end

-- `a < b` where the types differ or have metatables: Lua's own sort compares, so that the errors
-- are its own.
local function less(a, b)
  local kind = type(a)
  if kind == type(b) and (kind == "number" or kind == "string") then
    return a < b
  elseif a == nil or b == nil then
    local both = kind == type(b) and "two nil values" or kind .. " with " .. type(b)
    error("attempt to compare " .. both, 0)
  end
  local pair = { b, a }
  c_sort(pair)
  return rawequal(pair[1], a) and not rawequal(a, b)
end

-- Quicksort, with the comparisons in the order of Lua's. True: the order function contradicts
-- itself.
local function sort_range(t, first, last, less)
  while first < last do
    if less(t[last], t[first]) then
      t[first], t[last] = t[last], t[first]
    end
    if last - first == 1 then
      return
    end
    local i = first + (last - first - (last - first) % 2) / 2
    if less(t[i], t[first]) then
      t[i], t[first] = t[first], t[i]
    elseif less(t[last], t[i]) then
      t[i], t[last] = t[last], t[i]
    end
    if last - first == 2 then
      return
    end
    local pivot = t[i]
    t[i], t[last - 1] = t[last - 1], pivot
    i = first
    local j = last - 1
    while true do
      i = i + 1
      while less(t[i], pivot) do
        if i > last then
          return true
        end
        i = i + 1
      end
      j = j - 1
      while less(pivot, t[j]) do
        if j < first then
          return true
        end
        j = j - 1
      end
      if j < i then
        break
      end
      t[i], t[j] = t[j], t[i]
    end
    t[last - 1], t[i] = t[i], t[last - 1]
    if i - first < last - i then
      j, i, first = first, i - 1, i + 1
    else
      j, i, last = i + 1, last, i - 1
    end
    if sort_range(t, j, i, less) then
      return true
    end
  end
end

table_.sort = function(...)
  local t, order = ...
  if type(t) ~= "table" then
    bad("sort", 1, "table expected, got " .. got(...))
  elseif order ~= nil and type(order) ~= "function" then
    bad("sort", 2, "function expected, got " .. type(order))
  end
  local count = c_getn(t)
  local has_failed
  if c_getmetatable(t) == nil then
    has_failed = sort_range(t, 1, count, order or less)
  else
    local copy = {}
    for index = 1, count do
      copy[index] = c_rawget(t, index)
    end
    has_failed = sort_range(copy, 1, count, order or less)
    if not real_of[t] then
      for index = 1, count do
        c_rawset(t, index, copy[index])
      end
    end
  end
  if has_failed then
    error("invalid order function for sorting", 2)
  end
end

-- Libraries.

local function library(name, real)
  local new = face(real)
  eval_real[name] = new
  function_real[name] = new
  return new
end

local function with(real, replaced)
  for name, value in c_next, replaced do
    real[name] = value
  end
  return real
end

local string_ = with(boot.string, native.string)
local gmatch_step = native.string.gmatch_step
string_.gmatch_step = nil
string_.gmatch = function(...)
  for number = 1, 2 do
    local kind = type((select(number, ...)))
    if kind ~= "string" and kind ~= "number" then
      bad("gmatch", number, "string expected, got " .. got(select(number, ...)))
    end
  end
  local text, pattern = ...
  local place = 0
  local function found(next_place, ...)
    if next_place then
      place = next_place
      return ...
    end
  end
  return function()
    return found(gmatch_step(text, pattern, place))
  end
end
local string_face = library("string", string_)
-- Read only as well: what one script put there, the next one would call.
local string_meta = c_getmetatable("")
string_meta.__index = string_
string_meta.__metatable = face({ __index = string_face })

library("table", table_)
library("coroutine", coroutine_)
library("math", with(boot.math, native.math))
for name, real in c_next, native.libraries do
  library(name, real)
end

local function redis_table(names)
  local new = {}
  for _, name in c_next, names do
    new[name] = native.redis[name]
  end
  return new
end
local SHARED = { "log", "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING", "REDIS_VERSION",
  "REDIS_VERSION_NUM" }
local CALLING = { "call", "pcall", "setresp", "sha1hex", "error_reply", "status_reply", "set_repl",
  "REPL_NONE", "REPL_AOF", "REPL_SLAVE", "REPL_REPLICA", "REPL_ALL", "acl_check_cmd" }
local EVALUATING = { "breakpoint", "debug", "replicate_commands" }
eval_real.redis = face(with(with(redis_table(SHARED), redis_table(CALLING)),
  redis_table(EVALUATING)))
function_real.redis = face(with(redis_table(SHARED), redis_table(CALLING)))
load_real.redis = face(strict(with(redis_table(SHARED), redis_table({ "register_function" }))),
  STRICT_SHOWN)
eval_real._G = eval_face
function_real._G = function_globals

-- Who calls the scripts.

-- Notes where it happened, in Redis' form.
local function failed(failure)
  failure = caught_value(failure)
  local source, line = native.raised_at()
  if type(failure) ~= "table" then
    failure = { err = "ERR " .. tostring(failure) }
  end
  if source then
    failure.source = source
    failure.line = line
  end
  return failure
end
eval_real.__redis__err__handler = failed

-- The largest index of a table and how many there are; -1 when it is no array for JSON.
local function array_len(t)
  local max, items = 0, 0
  for key in c_next, t do
    if type(key) ~= "number" or key < 1 or key ~= floor(key) then
      return -1, 0
    end
    if key > max then
      -- Where an int of C overflows.
      max = key < 2147483648 and key or -2147483648
    end
    items = items + 1
  end
  return max, items
end

-- The number of keys, and whether they are 1 to that number.
local function count_shape(t)
  local count, max, is_array = 0, 0, true
  for key in c_next, t do
    count = count + 1
    if type(key) ~= "number" or key <= 0 or key ~= floor(key) or key > 2147483647 then
      is_array = false
    elseif key > max then
      max = key
    end
  end
  return count, is_array and max == count
end

-- What was compiled, by the number that Rust knows it by.
local compiled = {}

return {
  compiled = compiled,
  globals = eval_real,
  failed = failed,
  -- What scripts compile from now on belongs to a script, or to a function.
  begin = function(is_function)
    environment = is_function and function_face or eval_face
  end,
  load_library = function(body)
    environment = function_face
    c_setfenv(body, function_face)
    function_switch.__index = load_real
    local ok, failure = c_pcall(body)
    function_switch.__index = function_real
    if not ok then
      return caught_value(failure)
    end
  end,
  keep = function(number, new)
    compiled[number] = new
  end,
  -- Lets go of what the last run was given.
  rest = function()
    eval_real.KEYS, eval_real.ARGV = nil, nil
  end,
  next = c_next,
  index = function(t, key)
    return t[key]
  end,
  array_len = array_len,
  count_shape = count_shape,
}
