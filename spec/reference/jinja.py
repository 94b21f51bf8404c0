"""References for spec/text/jinja_spec.lua, from jinja2 set up as transformers does for chat templates.

    python3 spec/reference/jinja.py

Writes jinja.json: templates in the manner of chat templates and small ones for single constructs, variables, and the text.
"""
import json
import os

from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

here = os.path.dirname(os.path.abspath(__file__))

CHATML = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi and message.role == "user" and message.content is string and not(message.content.startswith('<r>') and message.content.endswith('</r>')) %}
        {%- set ns.multi = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or (not loop.last and thought)) %}
            {{- '<|im_start|>assistant\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
                {%- if call.function %}{%- set call = call.function %}{%- endif %}
                {{- '<tool_call>{"name": "' }}{{- call.name }}{{- '", "arguments": ' }}
                {%- if call.arguments is string %}{{- call.arguments }}{%- else %}{{- call.arguments | tojson }}{%- endif %}
                {{- '}</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<r>' + content + '</r>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}
"""
HEADERS = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{#- the first message may be the system's #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|h|>system<|/h|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Tools: " }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- "Today: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|e|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|h|>' + message['role'] + '<|/h|>\\n\\n'+ message['content'] | trim + '<|e|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("one tool call at once") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}
        {%- for arg_name, arg_val in tool_call.arguments | items %}
            {{- arg_name + '="' + arg_val|string + '"' }}
            {%- if not loop.last %}{{- ", " }}{%- endif %}
        {%- endfor %}
        {{- "}<|m|>" }}
    {%- else %}
        {{- "<|h|>ipython<|/h|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|e|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|h|>assistant<|/h|>\\n\\n' }}
{%- endif %}
"""
INST = """{%- if messages[0]["role"] == "system" %}{%- set system = messages[0]["content"] %}{%- set rest = messages[1:] %}
{%- else %}{%- set rest = messages %}{%- endif %}
{%- set plain = rest | rejectattr("role", "equalto", "tool") | list %}
{{- bos_token }}
{%- for message in plain %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate: ' ~ message.role) }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system is defined %}{{- "[INST] " + system + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}{%- endif %}
    {%- elif message["role"] == "assistant" %}{{- " " + message["content"]|trim + eos_token}}
    {%- else %}{{- raise_exception("what is " + message["role"]) }}{%- endif %}
{%- endfor %}
"""
TURNS = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start>' + role + '
' + message['content'] | trim + '<end>
' }}{% endfor %}{% if add_generation_prompt %}{{'<start>model
'}}{% endif %}"""
PHI = """{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'user' %}{{'<|user|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>
' + message['content'] + '<|end|>
'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>
' }}{% else %}{{ eos_token }}{% endif %}"""

SMALL = [
    "a\n{% if true %}\n  b\n{% endif %}\nc\n", "  {% set x = 1 %}\n  {{ x }}\n", "x {%- if 1 %} y {%- endif %} z", "{# note #}\nx {#- y -#} z",
    "{{ 1 + 2 * 3 - 4 // 3 % 2 }} {{ 7 / 2 }} {{ 2 ** 3 }} {{ -3 + 1 }} {{ 'a' * 3 }}", "{{ 'a' ~ 1 ~ none ~ true }}",
    "{{ [1, 'b', none, true, 2.5, {'k': \"it's\"}] }}", "{{ (1, 2)[1] }} {{ [1,2,3][-1] }} {{ 'h\u00e9llo'[1:3] }} {{ 'abc'[::-1] }}",
    "{{ 1 < 2 < 3 }} {{ 1 == 1.0 }} {{ not 1 == 2 }} {{ 3 in [1, 3] }} {{ 'a' not in 'cab' }}", "{{ x is defined }} {{ messages is iterable }}",
    "{% for i in range(5) if i % 2 %}{{ loop.index }}:{{ i }}{{ ',' if not loop.last }}{% else %}none{% endfor %}",
    "{% for i in [] %}x{% else %}none{% endfor %}", "{% for k, v in {'a': 1, 'b': [2]}.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}", "{% set t %}a{{ 1 }}b{% endset %}[{{ t }}]",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m('x', b='y') }}", "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}"
    "{% if i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{{ '  a b ' | trim | upper | replace('A', 'xy') }}",
    "{{ [3, 1, 2] | sort | join('-') }} {{ [1,2] | first }} {{ 'abc' | last }} {{ {'b': 1, 'a': 2} | dictsort }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('|') }}", "{{ nothing | default('d') }}{{ '' | default('e', true) }}",
    "{{ {'a': [1, {'b': none}], 'c': 'q\\u00e9\\n\"'} | tojson }} {{ [] | tojson }} {{ {'a': [1, 2]} | tojson(indent=2) }}",
    "{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a.b.c'.split('.', 1) }} {{ 'x'.join(['a', 'b']) }} {{ 'hello world'.title() }}",
    "{{ 'abc'.find('c') }} {{ 'ab'.startswith('a') }} {{ 'xxaxx'.strip('x') }} {{ {'a': 1}.get('b', 'z') }} {{ 'aXbX'.replace('X', '-', 1) }}",
    "{{ 'x' if false }}|{{ 'y' if 1 else 'z' }}|{{ (none or 'q') and 'r' }}", "{{ 'a\nb\n\nc' | indent(2) }}", "{{ loop is defined }}{{ '%s' | string }}",
    "{{ 3 is odd }} {{ 3 is divisibleby 3 }} {{ 'a' is string }} {{ {} is mapping }} {{ 1 is number }} {{ none is none }} {{ [] is not none }}",
    "{%- set ns = namespace(found=false, n=0) -%}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }} {{ ns.found }}",
    "{{ messages[-1].content[:3] }} {{ messages | length }} {{ messages[0]['role'] ~ messages[0].missing }}", "{{ [1, 2] + [3] }} {{ '5' | int + 1 }}",
    "{{ '\\u00e9' | length }} {{ 1e0 if false else 0.1 + 0.2 }}".replace("1e0", "1"), "a {% if true -%}   b   {%- endif +%}\nc",
]
TALKS = [
    [{"role": "user", "content": "Hello, who are you?  "}],
    [{"content": "Be brief.\n", "role": "system"}, {"content": "Hi", "role": "user"}, {"content": " <think>\nhm\n</think>\n\nHello!", "role": "assistant"},
     {"content": "2+2?", "role": "user"}],
    [{"content": "Weather?", "role": "user"},
     {"content": "", "role": "assistant", "tool_calls": [{"function": {"arguments": {"city": "K\u00f6ln", "days": 2}, "name": "weather"}, "type": "function"}]},
     {"content": "sunny", "role": "tool"}, {"content": "<think>it is</think>Sunny.", "role": "assistant"}],
]
TOOLS = [{"function": {"description": "tells the weather", "name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}}, "type": "function"}]


def render(template, variables):
    def raise_exception(message):
        raise ValueError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    try:
        return environment.from_string(template).render(**variables)
    except ValueError:
        return None


if __name__ == "__main__":
    cases = []
    for template in (CHATML, HEADERS, INST, TURNS, PHI):
        for talk in TALKS:
            for extra in ({}, {"add_generation_prompt": True}, {"add_generation_prompt": True, "tools": TOOLS, "enable_thinking": False}):
                variables = {"messages": talk, "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": False, **extra}
                cases.append([template, variables, render(template, variables)])
    for template in SMALL:
        variables = {"messages": TALKS[1]}
        cases.append([template, variables, render(template, variables)])
    with open(os.path.join(here, "jinja.json"), "w") as out:
        out.write("[" + ",\n".join(json.dumps(case, sort_keys=True) for case in cases) + "]\n")
